//! Is five identities in one network with sixteen connections each, of which each takes one small result once; another, far
//! away, then takes a large result.
//! loses: the network's share of the wide windows

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use eider_node::Candidate;
use eider_tests::strangers::*;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

/// From the honest requester to the worker, and back again.
const AWAY: Duration = Duration::from_millis(150);

/// Hands packets on, each a while later.
async fn carry(from: Arc<UdpSocket>, to: Arc<UdpSocket>) {
    let (later, mut due) = mpsc::unbounded_channel::<(tokio::time::Instant, Vec<u8>)>();
    let comes = async {
        let mut packet = [0; 2048];
        while let Ok(n) = from.recv(&mut packet).await {
            let _ = later.send((tokio::time::Instant::now() + AWAY, packet[..n].to_vec()));
        }
    };
    let leaves = async {
        while let Some((at, packet)) = due.recv().await {
            sleep_until(at).await;
            let _ = to.send(&packet).await;
        }
    };
    tokio::join!(comes, leaves);
}

/// The same worker, far away from who dials it first.
async fn far(worker: &Candidate) -> Result<(Candidate, JoinSet<()>)> {
    let near = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
    let away = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
    away.connect(worker.address.parse::<SocketAddr>()?).await?;
    let worker = Candidate { address: near.local_addr()?.to_string(), node: worker.node };
    let mut relay = JoinSet::new();
    relay.spawn(async move {
        let mut packet = [0; 2048];
        let Ok((n, who)) = near.recv_from(&mut packet).await else { return };
        if near.connect(who).await.is_ok() && away.send(&packet[..n]).await.is_ok() {
            tokio::join!(carry(near.clone(), away.clone()), carry(away, near));
        }
    });
    Ok((worker, relay))
}

/// How long one who is far away takes over a result of some MB, all of which it would take at once.
async fn takes(town: &Town) -> Result<Duration> {
    let (worker, _relay) = far(&town.worker(0)).await?;
    let honest = Stranger::dial(&worker).await?;
    let _wide = honest.connection.widen();
    let (mut stream, commit) = honest.committed(Stranger::LARGE).await?;
    let started = Instant::now();
    honest.result(&commit, 0).await?;
    let took = started.elapsed();
    honest.settle(&mut stream, &commit).await?;
    Ok(took)
}

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let before = takes(town).await?;
    let mut held = vec![];
    for _ in 0..5 {
        let stranger = Stranger::dial_from([127, 0, 5, 1], &town.worker(0)).await?;
        let (_stream, commit) = stranger.committed("SELECT 1").await?;
        stranger.result(&commit, 0).await?;
        for _ in 0..15 {
            let one = stranger.again(&town.worker(0)).await?;
            one.result(&commit, 0).await?;
            // A Bid that waits on it would keep it from being closed after two minutes.
            held.push(one);
        }
        held.push(stranger);
    }
    let beside = takes(town).await?;
    for one in &held {
        one.connection.close(ResetCode::Cancelled);
    }
    ensure!(beside < before * 2 + Duration::from_secs(2), "the result took {beside:?}, and {before:?} before");
    Ok(())
}
