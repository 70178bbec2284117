//! Cells that are started ahead of need.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::{Cell, CellCommand, CellError, Image};

/// Starting a cell takes about 25 ms of processor time, which the job that was just given one needs more.
const REFILL_PAUSE: Duration = Duration::from_millis(25);

/// How long nothing is started ahead after a cell that could not be started, or died while it waited.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// The same after many of them.
const RETRY_LAST: Duration = Duration::from_secs(10);

/// Jobs that wait for a cell at most; further ones wait to wait.
const WAITING: usize = 64;

/// Cells of one image that are started ahead of need, for as long as it or a clone of it lives.
#[derive(Clone, Debug)]
pub struct Pool {
    image: Image,
    requests: mpsc::Sender<Request>,
}

/// Where a job waits for its cell.
type Request = oneshot::Sender<Result<Cell, CellError>>;

impl Pool {
    /// Keeps `ahead` cells ready. One that dies while it waits is replaced; one that cannot be started is tried again
    /// after a while, and at once for a job that finds none ready.
    pub fn start(command: CellCommand, image: Image, ahead: usize) -> Self {
        let (requests, asked) = mpsc::channel(1);
        let keeper = Keeper {
            command,
            image: image.clone(),
            ahead: ahead.max(1),
            asked,
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
            starting: JoinSet::new(),
            pause: RETRY_FIRST,
            next: Instant::now(),
        };
        tokio::spawn(keeper.keep());
        Self { image, requests }
    }

    /// The image that its cells run.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// A ready cell; another is started in its place.
    ///
    /// # Errors
    /// Why none can be started, when none is ready.
    pub async fn take(&self) -> Result<Cell, CellError> {
        let (request, answer) = oneshot::channel();
        let stopped = || CellError::Died("the pool has stopped".into());
        self.requests.send(request).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// Has all cells that are ready or being started; they end with it.
struct Keeper {
    command: CellCommand,
    image: Image,
    ahead: usize,
    asked: mpsc::Receiver<Request>,
    waiting: VecDeque<Request>,
    ready: VecDeque<Cell>,
    starting: JoinSet<Result<Cell, CellError>>,
    /// After the next failure.
    pause: Duration,
    /// Nothing is started before that for which no job waits.
    next: Instant,
}

impl Keeper {
    async fn keep(mut self) {
        loop {
            self.answer();
            let lacking = self.start();
            tokio::select! {
                biased;
                () = deaths(&mut self.ready) => self.fail(),
                Some(started) = self.starting.join_next() => match started {
                    Ok(Ok(cell)) => self.ready.push_back(cell),
                    Ok(Err(e)) => self.refuse(e),
                    Err(e) => self.refuse(CellError::Spawn(e.into())),
                },
                request = self.asked.recv(), if self.waiting.len() < WAITING => match request {
                    Some(request) => self.waiting.push_back(request),
                    None => return,
                },
                () = sleep_until(self.next), if lacking => {}
            }
        }
    }

    /// Gives what is ready to the jobs that wait.
    fn answer(&mut self) {
        self.waiting.retain(|request| !request.is_closed());
        while !self.waiting.is_empty() {
            let Some(mut cell) = self.ready.pop_front() else { return };
            if cell.has_ended() {
                self.fail();
                continue;
            }
            let Some(request) = self.waiting.pop_front() else { return };
            if let Err(Ok(unused)) = request.send(Ok(cell)) {
                // The job has gone this moment: the cell is as good as before.
                self.ready.push_front(unused);
                continue;
            }
            self.pause = RETRY_FIRST;
            // While another cell is ready, the job that took this one has the processor first.
            let pause = if self.ready.is_empty() { Duration::ZERO } else { REFILL_PAUSE };
            self.next = Instant::now() + pause;
        }
    }

    /// Starts what may be started now, and says whether more is to be started later.
    fn start(&mut self) -> bool {
        let lacking = self.ahead.saturating_sub(self.ready.len() + self.starting.len());
        let urgent = self.waiting.len().saturating_sub(self.starting.len()).min(lacking);
        let now = if Instant::now() < self.next { urgent } else { lacking };
        for _ in 0..now {
            let (command, image) = (self.command.clone(), self.image.clone());
            self.starting.spawn(async move { Cell::spawn(&command, &image).await });
        }
        now < lacking
    }

    /// A cell could not be started. The job that waits longest has the reason, unless one that is being started is for it.
    fn refuse(&mut self, why: CellError) {
        self.fail();
        if self.waiting.len() > self.starting.len()
            && let Some(request) = self.waiting.pop_front()
        {
            let _ = request.send(Err(why));
        }
    }

    fn fail(&mut self) {
        self.next = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(RETRY_LAST);
    }
}

/// Takes cells out that have ended; returns when there were some.
async fn deaths(ready: &mut VecDeque<Cell>) {
    poll_fn(|cx| {
        let before = ready.len();
        ready.retain_mut(|cell| cell.poll_ended(cx).is_pending());
        if ready.len() < before { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
