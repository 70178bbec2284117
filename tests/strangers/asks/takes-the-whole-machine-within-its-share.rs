//! Has as many jobs run as one requester may, which ask for all the memory that is free, and then one that claims all the disk
//! for an input that it does not have; another asks for a small job.
//! loses: the share of one requester, of memory and of disk, for the time of its jobs

use eider_tests::strangers::*;

/// A cell's own: `Admission::CELL_MEMORY`.
const CELL: u64 = 64 << 20;
/// Of the neighbourhood's workers.
const DISK: u64 = 10 << 30;
const RESULT: u64 = 4 << 30;

/// Has such a job run, as soon as nobody else's is in its way; none if that is more than it may have.
async fn runs(stranger: &Stranger, task: &Task, change: impl Fn(&mut Offer)) -> Result<Option<JobStream>> {
    for _ in 0..300 {
        let (mut stream, id, bid) = stranger.bid(&stranger.offer_with(task, &change)?).await?;
        match &bid.answer {
            Ok(_) => {
                stranger.dispatches(&mut stream, id, &bid, task).await?;
                match stream.receiver.frame_of(Kind::ALL).await {
                    Ok(Some(frame)) if frame.kind == Kind::Progress => return Ok(Some(stream)),
                    Err(StreamError::Reset(ResetCode::OverCapacity)) => {}
                    other => bail!("{other:?}"),
                }
            }
            Err(decline) if decline.reason == DeclineReason::Busy => {}
            Err(_) => return Ok(None),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(None)
}

/// Whether another gets a Bid in favour within three seconds.
async fn another(town: &Town) -> Result<()> {
    let honest = Stranger::dial(&town.worker(0)).await?;
    let mut last = None;
    for _ in 0..60 {
        let (mut stream, _, bid) = honest.bid(&honest.offer_with(&Stranger::task("SELECT 1"), |_| {})?).await?;
        stream.reset(ResetCode::Cancelled);
        match bid.answer {
            Ok(_) => return Ok(()),
            Err(decline) => last = Some(decline.detail),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("another is declined: {last:?}")
}

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial_from([127, 0, 5, 1], &town.worker(0)).await?;
    let mut free = 0;
    for _ in 0..20 {
        let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?;
        let (mut stream, _, bid) = stranger.bid(&offer).await?;
        stream.reset(ResetCode::Cancelled);
        free = free.max(bid.answer.map_or(0, |accept| accept.free_memory));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let task = Stranger::task(Stranger::LONG);
    let mut memory = vec![];
    for _ in 0..Stranger::PER_REQUESTER {
        let job = runs(&stranger, &task, |offer| {
            offer.limits.memory = (free / u64::from(Stranger::PER_REQUESTER)).saturating_sub(CELL);
            offer.limits.run_ms = 30_000;
        });
        memory.push(job.await?);
    }
    let beside_memory = another(town).await.context("beside a job with all the memory");
    drop(memory);
    stranger.is_free().await?;

    let _served = stranger.serves_never();
    let input = InputEntry { size: DISK - RESULT, ..Stranger::entry(0, b"nothing") };
    let task = Stranger::task_on(Stranger::LONG, vec![input]);
    let disk = runs(&stranger, &task, |offer| {
        offer.limits.result = RESULT;
        offer.limits.run_ms = 20_000;
    });
    let disk = disk.await?;
    let beside_disk = another(town).await.context("beside a job that claims all the disk");
    drop(disk);
    beside_memory.and(beside_disk)
}
