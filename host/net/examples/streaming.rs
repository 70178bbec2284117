//! Verified streaming against plain QUIC over loopback: 512 MiB each, in turns.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eider_net::{BlobSink, Endpoint, Pace, Source, file_outboard};
use eider_protocol::{Identity, Kind};

const SIZE: u64 = 512 << 20;
const ROUNDS: usize = 6;
const PACE: Pace = Pace { least: 64 << 10, within: Duration::from_secs(10) };

struct Nowhere;

impl BlobSink for Nowhere {
    async fn write(&mut self, _: u64, _: Bytes) -> io::Result<()> {
        Ok(())
    }
}

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut file = tempfile::tempfile()?;
    let block: Vec<u8> = (0..1u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for _ in 0..SIZE >> 20 {
        file.write_all(&block)?;
    }
    io::Seek::rewind(&mut file)?;
    let outboard = file_outboard(&mut file, SIZE)?;
    let root = outboard.root;
    let source = Source { bytes: Arc::new(file), outboard: Arc::new(outboard), checked: false };
    let server = Endpoint::bind("127.0.0.1:0".parse()?, &Identity::from_seed([1; 32]))?;
    let client = Endpoint::bind("127.0.0.1:0".parse()?, &Identity::from_seed([2; 32]))?;
    let address = server.local_addr()?;
    tokio::spawn(serve(server, source));
    let connection = client.connect(address, None).await?;
    let _wide = connection.widen();
    let mut best = [f64::MAX; 3];
    for _ in 0..ROUNDS {
        for (way, best) in ["plain", "verified", "checked"].iter().zip(&mut best) {
            let mut stream = connection.open().await?;
            let started = Instant::now();
            stream.sender.frame(Kind::Fetch, way.as_bytes()).await?;
            if *way == "plain" {
                while stream.receiver.bytes().await?.is_some() {}
            } else {
                eider_net::receive(&mut stream.receiver, root, SIZE, (0, SIZE), &mut Nowhere, PACE).await?;
            }
            let took = started.elapsed().as_secs_f64();
            print!("{way} {:.0} MB/s  ", SIZE as f64 / 1e6 / took);
            *best = best.min(took);
        }
        println!();
    }
    println!("best: verified {:.2} of plain, checked {:.2}", best[0] / best[1], best[0] / best[2]);
    Ok(())
}

async fn serve(server: Endpoint, source: Source) -> Outcome<()> {
    let connection = Endpoint::finish(server.accept().await.ok_or("closed")?).await?;
    let _wide = connection.widen();
    loop {
        let mut stream = connection.accept().await?;
        let frame = stream.receiver.expect_of(&[Kind::Fetch]).await?;
        if frame.payload == b"plain" {
            let mut at = 0;
            while at < SIZE {
                let mut piece = vec![0; 256 << 10];
                source.bytes.read_exact_at(at, &mut piece)?;
                at += piece.len() as u64;
                stream.sender.bytes(piece.into()).await?;
            }
        } else {
            let source = Source { checked: frame.payload == b"checked", ..source.clone() };
            eider_net::send(&mut stream.sender, &source, 0, SIZE, PACE).await?;
        }
        stream.sender.finish().await;
    }
}
