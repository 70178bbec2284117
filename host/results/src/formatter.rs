//! From an Arrow IPC stream to a form, as it comes.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::OutputFormat;
use crate::form::Form;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 256 << 10;

/// Writes a result in a form. It blocks where its writer does: [`crate::Output`] gives it a thread.
pub struct Formatter {
    form: Form,
    decoder: StreamDecoder,
    /// The stream could not be read or written, and what follows cannot either.
    is_broken: bool,
    failure: Failure,
}

/// The writer's own error. Arrow's and Parquet's writers make others of it, and a closed pipe is no failure.
type Failure = Arc<Mutex<Option<io::Error>>>;

impl fmt::Debug for Formatter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Formatter").field("is_broken", &self.is_broken).finish_non_exhaustive()
    }
}

impl Formatter {
    /// To a writer.
    pub fn new(format: OutputFormat, writer: Box<dyn Write + Send>) -> Self {
        let failure = Failure::default();
        let watched: Box<dyn Write + Send> = Box::new(Watched { writer, failure: failure.clone() });
        let form = Form::new(format, BufWriter::with_capacity(BUFFER, watched));
        Self { form, decoder: StreamDecoder::new(), is_broken: false, failure }
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// The writer's, or bytes that are no Arrow IPC stream; after one, there is nothing but errors.
    pub fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.attempt(|form, decoder| {
            if let Form::Arrow(out) = form {
                return Ok(out.write_all(&bytes)?);
            }
            let mut buffer = Buffer::from(bytes);
            while !buffer.is_empty() {
                if let Some(batch) = decoder.decode(&mut buffer)? {
                    form.batch(&batch)?;
                }
            }
            Ok(())
        })
    }

    /// Ends the form and flushes the writer.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn finish(&mut self) -> io::Result<()> {
        self.attempt(|form, decoder| {
            // The stream must not end within a message; what passed through was not looked at.
            decoder.finish()?;
            form.finish(decoder.schema())
        })
    }

    fn attempt(
        &mut self,
        step: impl FnOnce(&mut Form, &mut StreamDecoder) -> Result<(), ArrowError>,
    ) -> io::Result<()> {
        if self.is_broken {
            return Err(no_arrow());
        }
        self.is_broken = true;
        let (form, decoder) = (&mut self.form, &mut self.decoder);
        // What a quorum of liars has agreed on need not be Arrow, and Arrow's reader panics on some of what is not. What
        // is left in pieces then is not used again.
        let stepped = catch_unwind(AssertUnwindSafe(|| step(form, decoder)));
        let failed = match stepped {
            Ok(Ok(())) => {
                self.is_broken = false;
                return Ok(());
            }
            Ok(Err(ArrowError::IoError(_, e))) => e,
            Ok(Err(e)) => io::Error::new(io::ErrorKind::InvalidData, e),
            Err(_) => no_arrow(),
        };
        Err(self.failure.lock().take().unwrap_or(failed))
    }
}

fn no_arrow() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the result that the workers agreed on is no Arrow IPC stream")
}

/// A writer whose error is remembered.
struct Watched {
    writer: Box<dyn Write + Send>,
    failure: Failure,
}

impl Watched {
    fn watch<T>(&self, done: io::Result<T>) -> io::Result<T> {
        if let Err(e) = &done
            && e.kind() != io::ErrorKind::Interrupted
        {
            self.failure.lock().get_or_insert_with(|| eider_runner::same_error(e));
        }
        done
    }
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes);
        self.watch(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.writer.flush();
        self.watch(flushed)
    }
}
