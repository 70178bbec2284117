//! Where data is: the requester's files, named and pinned to a manifest, and a worker's cache of what others pinned.

mod cache;
mod descriptors;
mod outboard;
mod pin;
mod read;

pub use cache::{CacheError, FETCH_MAX, Fetching, InputCache, Lease, ReadError, Reservation, disk_of};
pub use pin::{InputArg, InputError, Inputs, PinnedInput};
