//! Is seventeen identities in one network that change their address to another's once they are connected, and only then offer;
//! somebody who lives in that network asks as well.
//! loses: 1,024 places for Bids that wait, the share of the network that the strangers dialled from

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eider_node::Candidate;
use eider_tests::strangers::*;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// A stranger's way to the worker: first from its own network, and then from another's. One that forges the address of its
/// packets needs no socket there, for QUIC moves a connection before it has checked the new path.
struct Way {
    worker: Candidate,
    moved: Arc<AtomicBool>,
    _relay: JoinSet<()>,
}

impl Way {
    async fn to(worker: &Candidate) -> Result<Self> {
        let near = UdpSocket::bind("127.0.0.1:0").await?;
        let (own, others) = (UdpSocket::bind("127.0.5.1:0").await?, UdpSocket::bind("127.0.6.1:0").await?);
        let there: SocketAddr = worker.address.parse()?;
        let worker = Candidate { address: near.local_addr()?.to_string(), node: worker.node };
        let (moved, mut relay) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        let has_moved = moved.clone();
        relay.spawn(async move {
            let (mut a, mut b, mut c) = ([0; 2048], [0; 2048], [0; 2048]);
            let mut stranger = None;
            loop {
                tokio::select! {
                    Ok((n, who)) = near.recv_from(&mut a) => {
                        stranger = Some(who);
                        let out = if has_moved.load(Ordering::Relaxed) { &others } else { &own };
                        let _ = out.send_to(&a[..n], there).await;
                    }
                    Ok((n, _)) = own.recv_from(&mut b) => if let Some(who) = stranger {
                        let _ = near.send_to(&b[..n], who).await;
                    },
                    Ok((n, _)) = others.recv_from(&mut c) => if let Some(who) = stranger {
                        let _ = near.send_to(&c[..n], who).await;
                    },
                    else => return,
                }
            }
        });
        Ok(Self { worker, moved, _relay: relay })
    }
}

/// [P-CONN-3]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let mut strangers = vec![];
    for _ in 0..17 {
        let way = Way::to(&town.worker(0)).await?;
        let stranger = Stranger::dial(&way.worker).await?;
        way.moved.store(true, Ordering::Relaxed);
        strangers.push((stranger, way));
    }
    let mut streams = vec![];
    for (stranger, _) in &strangers {
        for _ in 0..64 {
            let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?;
            streams.push(stranger.says(Stranger::frame_of(&offer)).await?);
        }
    }
    // A worker that lets no connection change its address answers none of them.
    let answers = async {
        for stream in &mut streams {
            let _ = stream.receiver.expect_of(&[Kind::Bid]).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), answers).await;
    let honest = Stranger::dial_from([127, 0, 6, 9], &town.worker(0)).await?;
    let (mut stream, _, bid) = honest.bid(&honest.offer_with(&Stranger::task("SELECT 1"), |_| {})?).await?;
    stream.reset(ResetCode::Cancelled);
    for stream in &mut streams {
        stream.reset(ResetCode::Cancelled);
    }
    ensure!(bid.answer.is_ok(), "strangers of another network have its places: {:?}", bid.answer);
    Ok(())
}
