//! A result's way out, on a thread of its own.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use eider_runner::{Sink, Writing, same_error};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::place::Place;
use crate::{Formatter, OutputFormat};

/// Pieces that wait for the thread; who writes keeps what is more, and has a file for it.
const QUEUE: usize = 4;

/// Why a result did not get out.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The file cannot be made, or not be put in its place.
    #[error("output {path}: {1}", path = .0.display())]
    File(PathBuf, #[source] io::Error),
    /// The result cannot be read, or not be written.
    #[error("the result cannot be written: {0}")]
    Write(#[source] io::Error),
}

impl OutputError {
    /// Whether it is only that nobody reads any more.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Write(e) if e.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// A result in a form, on its way to a writer, or to a file that appears when it is complete. One thread formats and
/// writes, and nothing else waits for what it writes to. Dropped before its end, it leaves no file.
#[derive(Debug)]
pub struct Output {
    messages: mpsc::Sender<Message>,
    failure: Failure,
    file: Option<(Place, PathBuf)>,
}

#[derive(Debug)]
enum Message {
    Piece(Bytes),
    Finish(oneshot::Sender<io::Result<()>>),
}

/// What the thread has ended with.
type Failure = Arc<Mutex<Option<io::Error>>>;

impl Output {
    /// To a writer, which may block for as long as it likes.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn to_writer(format: OutputFormat, writer: Box<dyn Write + Send>) -> Result<Self, OutputError> {
        let (messages, queue) = mpsc::channel(QUEUE);
        let failure = Failure::default();
        let (formatter, failed) = (Formatter::new(format, writer), failure.clone());
        let run = move || write_out(formatter, queue, &failed);
        thread::Builder::new().name("eider-output".into()).spawn(run).map_err(OutputError::Write)?;
        Ok(Self { messages, failure, file: None })
    }

    /// To a file. Its folder must be there; an older file is replaced at the end.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn to_file(format: OutputFormat, path: &Path) -> Result<Self, OutputError> {
        let (place, file) = Place::prepare(path).map_err(|e| OutputError::File(path.into(), e))?;
        Ok(Self { file: Some((place, path.into())), ..Self::to_writer(format, Box::new(file))? })
    }

    /// The end that takes the result's bytes. It outlives the output as an error.
    pub fn sink(&self) -> OutputSink {
        OutputSink { messages: self.messages.downgrade(), failure: self.failure.clone() }
    }

    /// The sink has all bytes: ends the form, waits until all is written, and puts the file in its place once it is on
    /// the disk. If the future is dropped, there is no file.
    ///
    /// # Errors
    /// What is wrong with the result, the writer or the file, now or earlier.
    pub async fn finish(self) -> Result<(), OutputError> {
        let (done, finished) = oneshot::channel();
        let queued = self.messages.send(Message::Finish(done)).await.is_ok();
        let written = if queued { finished.await.ok() } else { None };
        written.unwrap_or_else(|| Err(why(&self.failure))).map_err(OutputError::Write)?;
        let Some((place, path)) = self.file else { return Ok(()) };
        let synced = tokio::task::spawn_blocking(move || place.sync().map(|()| place)).await;
        let taken = synced.map_err(io::Error::other).and_then(|place| place?.take());
        taken.map_err(|e| OutputError::File(path, e))
    }
}

/// Takes the bytes of a result for an [`Output`].
#[derive(Clone, Debug)]
pub struct OutputSink {
    messages: mpsc::WeakSender<Message>,
    failure: Failure,
}

impl Sink for OutputSink {
    fn write(&mut self, bytes: Bytes) -> Writing<'_> {
        Box::pin(async move {
            let Some(messages) = self.messages.upgrade() else { return Err(why(&self.failure)) };
            messages.send(Message::Piece(bytes)).await.map_err(|_| why(&self.failure))
        })
    }
}

fn why(failure: &Failure) -> io::Error {
    failure.lock().as_ref().map_or_else(|| io::Error::other("the output was given up"), same_error)
}

fn write_out(mut formatter: Formatter, mut queue: mpsc::Receiver<Message>, failure: &Failure) {
    while let Some(message) = queue.blocking_recv() {
        match message {
            Message::Piece(bytes) => {
                if let Err(e) = formatter.write(bytes) {
                    // Before the queue closes, so that who finds it closed finds the reason.
                    *failure.lock() = Some(e);
                    return;
                }
            }
            Message::Finish(done) => {
                // Nobody may wait for it any more.
                let _ = done.send(formatter.finish());
                return;
            }
        }
    }
}
