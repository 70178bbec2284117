//! Where data is: the requester's files, named and pinned to a manifest, and a worker's cache of what others pinned.

mod cache;
mod pin;
mod read;

pub use cache::{CacheError, Entry, InputCache};
pub use pin::{InputArg, InputError, Inputs, PinnedInput};
pub use read::read_at;
