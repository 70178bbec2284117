//! Cells that are started ahead of need.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::{Cell, CellCommand, CellError, Image};

/// Starting a cell takes about 25 ms of processor time, which the job that was just given one needs more.
const REFILL_PAUSE: Duration = Duration::from_millis(25);

/// How long a pool waits after a cell that could not be started, and at most after many.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(10);

/// Cells of one image that are started ahead of need, for as long as it or a clone of it lives.
#[derive(Clone, Debug)]
pub struct Pool {
    image: Image,
    requests: mpsc::Sender<Request>,
    /// A task for each place, aborted with the last clone; a cell ends with the task that holds it.
    _places: Arc<JoinSet<()>>,
}

/// Where a job waits for its cell.
type Request = oneshot::Sender<Result<Cell, CellError>>;

impl Pool {
    /// Keeps `ahead` cells ready. One that dies while it waits is replaced; one that cannot be started is tried again
    /// after a while, and when a job asks.
    pub fn start(command: CellCommand, image: Image, ahead: usize) -> Self {
        let (requests, asked) = mpsc::channel(1);
        let place = Place { command, image: image.clone(), asked: Arc::new(Mutex::new(asked)), ready: Arc::default() };
        let places = (0..ahead.max(1)).map(|_| place.clone().keep_filled()).collect();
        Self { image, requests, _places: Arc::new(places) }
    }

    /// The image that its cells run.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// A ready cell; another is started in its place. If none could be started ahead, one is started now.
    ///
    /// # Errors
    /// Why none can be started now.
    pub async fn take(&self) -> Result<Cell, CellError> {
        let (request, answer) = oneshot::channel();
        let stopped = || CellError::Died("the pool has stopped".into());
        self.requests.send(request).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// One of a pool's places, in which a cell waits for a job.
#[derive(Clone)]
struct Place {
    command: CellCommand,
    image: Image,
    /// Shared by all places: whichever waits for it first answers the next job.
    asked: Arc<Mutex<mpsc::Receiver<Request>>>,
    /// How many of the places have a cell that is ready.
    ready: Arc<AtomicUsize>,
}

impl Place {
    /// Starts cell after cell, until the pool is gone.
    async fn keep_filled(self) {
        let mut pause = RETRY_FIRST;
        let mut waiting = None;
        loop {
            match Cell::spawn(&self.command, &self.image).await {
                Ok(cell) => {
                    pause = RETRY_FIRST;
                    self.ready.fetch_add(1, Relaxed);
                    let given = self.give(cell, waiting.take()).await;
                    let ready = self.ready.fetch_sub(1, Relaxed) - 1;
                    match given {
                        // While another cell is ready, the job that took this one has the processor first.
                        Given::Away if ready > 0 => tokio::time::sleep(REFILL_PAUSE).await,
                        Given::Away => {}
                        Given::Died(None) => tokio::time::sleep(RETRY_FIRST).await,
                        Given::Died(request) => waiting = request,
                        Given::PoolGone => return,
                    }
                }
                Err(e) => {
                    if let Some(request) = waiting.take() {
                        let _ = Request::send(request, Err(e));
                    }
                    match tokio::time::timeout(pause, self.next()).await {
                        Ok(Some(request)) => waiting = Some(request),
                        Ok(None) => return,
                        Err(_) => pause = (pause * 2).min(RETRY_LAST),
                    }
                }
            }
        }
    }

    /// Keeps a cell until a job has taken it, the one that waits or the next, or until it has died.
    async fn give(&self, mut cell: Cell, mut waiting: Option<Request>) -> Given {
        loop {
            let request = match waiting.take() {
                Some(request) => request,
                None => tokio::select! {
                    biased;
                    () = cell.ended() => return Given::Died(None),
                    next = self.next() => match next {
                        Some(request) => request,
                        None => return Given::PoolGone,
                    },
                },
            };
            // Its end may not have been told yet.
            if cell.has_ended() {
                return Given::Died(Some(request));
            }
            // A job that has gone meanwhile leaves the cell as good as before.
            match request.send(Ok(cell)) {
                Err(Ok(unused)) => cell = unused,
                _ => return Given::Away,
            }
        }
    }

    async fn next(&self) -> Option<Request> {
        self.asked.lock().await.recv().await
    }
}

/// What became of a cell that waited for a job.
enum Given {
    Away,
    /// With the job that would have had it.
    Died(Option<Request>),
    PoolGone,
}
