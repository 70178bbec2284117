//! What is looked at beyond a program's end.

use eider_sandbox::{Usage, limits};

use crate::lab::Lab;
use crate::run::{End, SIZES, Seen, input_byte};

/// Nothing more.
pub(crate) fn none(_: &Lab, _: &Seen) {}

fn input(index: u32, from: u64, length: u64) -> Vec<u8> {
    (from..from + length).map(|at| input_byte(index, at, 0)).collect()
}

fn completed(seen: &Seen) -> (u64, Usage) {
    match seen.end {
        End::Completed { rows, usage } => (rows, usage),
        _ => panic!("ended {:?}", seen.end),
    }
}

/// The small input is the result.
pub(crate) fn good(_: &Lab, seen: &Seen) {
    assert_eq!((completed(seen).0, seen.progress), (SIZES[0], Some(5000)));
    assert_eq!(seen.result, input(0, 0, SIZES[0]));
}

/// It went on reporting, and did nothing else.
pub(crate) fn reports(_: &Lab, seen: &Seen) {
    assert!(seen.reports > 0 && seen.reads == 0 && seen.writes == 0);
}

/// It went on reading, and did nothing else.
pub(crate) fn reads(_: &Lab, seen: &Seen) {
    assert!(seen.reads > 1 && seen.reports == 0 && seen.writes == 0);
}

/// It went on writing, and did nothing else.
pub(crate) fn writes(_: &Lab, seen: &Seen) {
    assert!(seen.writes > 1 && seen.reports == 0 && seen.reads == 0);
}

/// What it tried did not get out of the cell.
pub(crate) fn nothing_arrives(_: &Lab, seen: &Seen) {
    assert!(seen.writes == 0 && seen.reports == 0 && seen.reads == 0);
}

/// The most that there is.
pub(crate) fn progress_is_cut(_: &Lab, seen: &Seen) {
    assert_eq!(seen.progress, Some(10_000));
}

/// The growth failed, and nothing was counted for it.
pub(crate) fn refused_memory_is_not_used(lab: &Lab, seen: &Seen) {
    let (rows, usage) = completed(seen);
    assert_eq!(rows, u64::MAX, "the growth");
    assert!(usage.memory < lab.memory());
}

/// There was memory, and it was given.
pub(crate) fn growth_is_granted(_: &Lab, seen: &Seen) {
    assert_ne!(completed(seen).0, u64::MAX, "the growth");
}

/// To the byte.
pub(crate) fn all_memory_is_used(lab: &Lab, seen: &Seen) {
    let (rows, usage) = completed(seen);
    assert_eq!((rows, usage.memory), (1, lab.memory()));
}

/// It came close to the limit and not past it.
pub(crate) fn table_is_bounded(_: &Lab, seen: &Seen) {
    let (size, most) = (completed(seen).0, limits::TABLE_ENTRIES as u64);
    assert!((most - 1000..=most).contains(&size), "{size} entries");
}

/// The right bytes of the right range.
pub(crate) fn large_read(_: &Lab, seen: &Seen) {
    assert_eq!((seen.written, seen.last_read), (16 << 20, Some((1, 12345, 16 << 20))));
    assert!(seen.result == input(1, 12345, seen.result.len() as u64), "other bytes");
}

/// Empty lists.
pub(crate) fn reads_of_nothing(_: &Lab, seen: &Seen) {
    assert_eq!(completed(seen).0, 0, "lengths");
}

/// In one piece.
pub(crate) fn large_write(_: &Lab, seen: &Seen) {
    assert_eq!((seen.written, seen.writes), (16 << 20, 1));
}

/// Each as memory was when it was written.
pub(crate) fn overlapping_writes(_: &Lab, seen: &Seen) {
    assert_eq!(seen.result, b"abcdcdefabXdef");
}

/// A long message is no reason to lose the failure, nor one to pass all of it on.
pub(crate) fn message_is_cut(_: &Lab, seen: &Seen) {
    let End::Failed(_, message) = &seen.end else { panic!("ended {:?}", seen.end) };
    assert!(message.len() <= limits::MESSAGE_BYTES, "{} bytes", message.len());
}

/// Whoever pays by rows counts them in the result.
pub(crate) fn rows_are_its_own_word(_: &Lab, seen: &Seen) {
    assert_eq!((completed(seen).0, seen.written), (u64::MAX, 0));
}

/// In this cell, and in another one.
pub(crate) fn first_run(lab: &Lab, seen: &Seen) {
    assert_eq!(completed(seen).0, 1);
    assert_eq!(completed(&lab.run(0)).0, 1);
}

/// Nothing differs between two runs.
pub(crate) fn same_twice(lab: &Lab, seen: &Seen) {
    assert!(seen.written > 0);
    assert_eq!(told(&lab.run(0)), told(seen));
}

/// All that leaves a cell; how much memory its process had, one can only measure beside it.
fn told(seen: &Seen) -> Seen {
    Seen { resident: 0, ..seen.clone() }
}

/// What is left to tell two secrets apart when one channel is closed.
fn leaks_only_by(lab: &Lab, close: fn(&mut Seen)) -> (Seen, Seen) {
    let (one, other) = (told(&lab.run(1)), told(&lab.run(2)));
    assert_ne!(one, other, "it does not leak");
    let closed = |seen: &Seen| {
        let mut seen = seen.clone();
        close(&mut seen);
        seen
    };
    assert_eq!(closed(&one), closed(&other), "it leaks elsewhere as well");
    (one, other)
}

/// Bounded by the limit of the result.
pub(crate) fn leaks_by_result(lab: &Lab, _: &Seen) {
    leaks_only_by(lab, |seen| seen.result.clear());
}

/// 64 bits.
pub(crate) fn leaks_by_rows(lab: &Lab, _: &Seen) {
    leaks_only_by(lab, |seen| {
        if let End::Completed { rows, .. } = &mut seen.end {
            *rows = 0;
        }
    });
}

/// Bounded by the length of a message.
pub(crate) fn leaks_by_message(lab: &Lab, _: &Seen) {
    leaks_only_by(lab, |seen| {
        if let End::Failed(_, message) = &mut seen.end {
            message.clear();
        }
    });
}

/// 10001 values each, as many as are passed on.
pub(crate) fn leaks_by_progress(lab: &Lab, _: &Seen) {
    leaks_only_by(lab, |seen| seen.progress = None);
}

/// 64 bits, each of which takes time.
pub(crate) fn leaks_by_fuel(lab: &Lab, _: &Seen) {
    leaks_only_by(lab, |seen| {
        if let End::Completed { usage, .. } = &mut seen.end {
            usage.fuel = None;
        }
    });
}

/// As many values as a job may have pages.
pub(crate) fn leaks_by_memory(lab: &Lab, _: &Seen) {
    let close = |seen: &mut Seen| {
        if let End::Completed { usage, .. } = &mut seen.end {
            usage.memory = 0;
        }
    };
    let (one, other) = leaks_only_by(lab, close);
    for seen in [one, other] {
        assert_eq!(completed(&seen).1.memory % 65536, 0, "only whole pages are told");
    }
}

/// Bounded by what a job may read.
pub(crate) fn leaks_by_reads(lab: &Lab, _: &Seen) {
    leaks_only_by(lab, |seen| seen.last_read = None);
}
