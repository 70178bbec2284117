//! Has its packets come later and later, and then vanishes: what QUIC takes for three round trips is longer than the silence
//! after which a peer is gone.
//! loses: sixteen connections, for 25 seconds after the last packet

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use eider_node::Candidate;
use eider_tests::strangers::*;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// By so many milliseconds its packets are late, and for how long: never is it silent for 15 s.
const LATE: [(u64, Duration); 2] = [(7_000, Duration::from_secs(14)), (14_000, Duration::from_secs(26))];
/// 15 s of silence, and a look every five which may just have missed the last packet.
const GONE: Duration = Duration::from_secs(27);

#[derive(Default)]
struct Way {
    late_ms: AtomicU64,
    cut: AtomicBool,
}

async fn relay(worker: &Candidate) -> Result<(Candidate, Arc<Way>, JoinSet<()>)> {
    let near = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
    let away = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
    away.connect(worker.address.parse::<SocketAddr>()?).await?;
    let worker = Candidate { address: near.local_addr()?.to_string(), node: worker.node };
    let (way, mut tasks) = (Arc::new(Way::default()), JoinSet::new());
    let here = way.clone();
    tasks.spawn(async move {
        let (later, mut due) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
        let (mut a, mut b) = ([0; 2048], [0; 2048]);
        let mut stranger = None;
        let leaves = async {
            while let Some((at, packet)) = due.recv().await {
                sleep_until(at).await;
                if !here.cut.load(Ordering::Relaxed) {
                    let _ = away.send(&packet).await;
                }
            }
        };
        let comes = async {
            loop {
                tokio::select! {
                    Ok((n, who)) = near.recv_from(&mut a) => {
                        stranger = Some(who);
                        let late = Duration::from_millis(here.late_ms.load(Ordering::Relaxed));
                        let _ = later.send((Instant::now() + late, a[..n].to_vec()));
                    }
                    Ok(n) = away.recv(&mut b) => {
                        if let Some(who) = stranger.filter(|_| !here.cut.load(Ordering::Relaxed)) {
                            let _ = near.send_to(&b[..n], who).await;
                        }
                    }
                    else => return,
                }
            }
        };
        tokio::join!(leaves, comes);
    });
    Ok((worker, way, tasks))
}

/// [P-CONN-3]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let (worker, way, _relay) = relay(&town.worker(0)).await?;
    let stranger = Stranger::dial(&worker).await?;
    let mut all = vec![];
    for _ in 0..15 {
        all.push(stranger.again(&worker).await?);
    }
    sleep(Duration::from_millis(500)).await;
    for (late_ms, time) in LATE {
        way.late_ms.store(late_ms, Ordering::Relaxed);
        sleep(time).await;
    }
    ensure!(!stranger.connection.is_closed(), "the worker has given it up before it vanished");
    way.cut.store(true, Ordering::Relaxed);
    sleep(GONE).await;
    // The same identity, straight to the worker: there is room again, unless those who are gone are still counted.
    let later = stranger.again(&town.worker(0)).await;
    let closed = match &later {
        Ok(later) => tokio::time::timeout(Duration::from_secs(2), later.connection.closed()).await.ok(),
        Err(e) => Some(e.to_string()),
    };
    way.late_ms.store(0, Ordering::Relaxed);
    way.cut.store(false, Ordering::Relaxed);
    for one in all.iter().chain([&stranger]) {
        one.connection.close(ResetCode::Cancelled);
    }
    ensure!(closed.is_none(), "connections that are silent for {GONE:?} are still counted: {closed:?}");
    Ok(())
}
