//! Results in the form that a user asked for, for every front end.
//!
//! A result arrives as the bytes of an Arrow IPC stream ([`eider_runner::Sink`]). [`Formatter`] turns them into a form
//! while they come, [`Output`] does that on a thread of its own, so that a pipe which nobody reads blocks nothing else.
//! Which form and which place is for the front end to say.

mod form;
mod format;
mod formatter;
mod output;
mod place;
mod text;

pub use format::{OutputFormat, UnknownFormat};
pub use formatter::Formatter;
pub use output::{Output, OutputError, OutputSink};

#[cfg(test)]
mod tests;
