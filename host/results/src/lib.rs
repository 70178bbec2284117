//! Results in the form that a user asked for.

mod output;

pub use output::{Output, OutputFormat, SharedOutput};
