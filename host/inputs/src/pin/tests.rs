#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::outboard::tests::proven;

fn arg(name: &str, path: &Path) -> InputArg {
    InputArg { name: name.into(), pattern: path.to_str().unwrap().into() }
}

fn pin(args: &[InputArg]) -> Result<Inputs, InputError> {
    Inputs::pin(args, &std::env::temp_dir(), |_, _, _| {})
}

fn pin_one(path: &Path) -> Result<Inputs, InputError> {
    pin(&[arg("t", path)])
}

fn descriptors_below(path: &Path) -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|e| fs::read_link(e.path()).ok());
    links.filter(|l| l.starts_with(path)).count()
}

#[test]
fn too_many_files_are_counted_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..20_000 {
        // Of no format: the first that is opened would be told of.
        File::create(dir.path().join(n.to_string())).unwrap();
    }
    let error = pin_one(&dir.path().join("*")).unwrap_err();
    assert!(matches!(error, InputError::TooMany { count: 10_001, .. }), "{error}");
    assert!(error.to_string().contains("at most 10000"), "{error}");
    // Together they are too many, each alone is not.
    let halves = [arg("a", &dir.path().join("1*[0-4]")), arg("b", &dir.path().join("1*[5-9]"))];
    assert!(matches!(pin(&halves), Err(InputError::TooMany { name, .. }) if name == "b"));
}

#[tokio::test]
async fn ten_thousand_files_are_pinned_and_read_with_few_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..10_000 {
        fs::write(dir.path().join(format!("{n:05}.csv")), format!("a,b\n{n},{n}\n")).unwrap();
    }
    let mut most = 0;
    let inputs = Inputs::pin(&[arg("t", &dir.path().join("*.csv"))], dir.path(), |path, done, total| {
        assert!(done <= total);
        if path.to_string_lossy().ends_with("99.csv") {
            most = most.max(descriptors_below(dir.path()));
        }
    });
    let inputs = inputs.unwrap();
    assert_eq!(inputs.summary().count, 10_000);
    for (n, input) in inputs.pinned().iter().enumerate() {
        let mut bytes = vec![0; input.entry.size as usize];
        input.read_at(0, &mut bytes).await.unwrap();
        assert_eq!(bytes, format!("a,b\n{n},{n}\n").into_bytes());
        assert_eq!(input.entry.hash, Hash::from(blake3::hash(&bytes)));
        let (bytes, hashes) = input.source();
        assert_eq!(proven(&*bytes, &*hashes, 0, input.entry.size).len() as u64, input.entry.size);
        if n % 1000 == 0 {
            most = most.max(descriptors_below(dir.path()));
        }
    }
    assert!(inputs.changed().is_none());
    assert!(most <= DESCRIPTORS_MAX.get() + 2, "{most} descriptors");
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("pipe.csv");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert!(matches!(pin_one(&fifo), Err(InputError::NotAFile(..))));
    assert!(matches!(pin_one(dir.path()), Err(InputError::NotAFile(..))));
    assert!(matches!(pin_one(Path::new("/dev/zero")), Err(InputError::NotAFile(..))));
    assert!(matches!(pin_one(&dir.path().join("none.csv")), Err(InputError::Io { .. })));
    assert!(matches!(pin_one(&dir.path().join("*.csv")), Err(InputError::NoMatch(..))));
    assert_eq!(open_regular(&fifo).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_pinned_file_that_became_a_pipe_is_changed_and_waits_for_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (path, filler) = (dir.path().join("a.csv"), dir.path().join("filler"));
    fs::write(&path, "a\n1\n").unwrap();
    fs::create_dir(&filler).unwrap();
    for n in 0..DESCRIPTORS_MAX.get() {
        fs::write(filler.join(format!("{n}.csv")), "a\n").unwrap();
    }
    let inputs = pin(&[arg("a", &path), arg("b", &filler.join("*.csv"))]).unwrap();
    fs::remove_file(&path).unwrap();
    mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert_eq!(inputs.changed().unwrap().path, path);
    assert!(inputs.pinned()[0].read_at(0, &mut [0; 4]).await.is_err());
}

/// Does something to a pinned file that is at rest (the first of many) or open (the last), and says whether it is told.
fn told_after(open: bool, change: impl Fn(&Path)) -> bool {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..=DESCRIPTORS_MAX.get() {
        fs::write(dir.path().join(format!("{n:03}.csv")), "a\n1\n").unwrap();
    }
    let inputs = pin_one(&dir.path().join("*.csv")).unwrap();
    let input = &inputs.pinned()[if open { DESCRIPTORS_MAX.get() } else { 0 }];
    assert_eq!(input.file.hit().is_some(), open);
    change(&input.path);
    let mut bytes = [0; 4];
    let read = input.source().0.read_exact_at(0, &mut bytes);
    let told = !input.unchanged();
    assert!(told || (read.is_ok() && bytes == *b"a\n1\n"), "what is not told is what was pinned");
    assert!(!told || open || read.is_err(), "what was not open is not read");
    assert_eq!(inputs.changed().is_some(), told);
    told
}

#[test]
fn a_file_that_changed_is_told_whether_it_is_open_or_not() {
    let set_modified = |path: &Path, to| File::options().write(true).open(path).unwrap().set_modified(to).unwrap();
    for open in [false, true] {
        assert!(told_after(open, |path| fs::write(path, "a\n1\n2\n").unwrap()));
        assert!(told_after(open, |path| fs::write(path, "a\n").unwrap()));
        assert!(told_after(open, |path| set_modified(path, std::time::UNIX_EPOCH)));
        assert!(!told_after(open, |path| {
            fs::metadata(path).unwrap();
        }));
    }
    // Another file of the name, with all that could be made the same; who has the old one open still has its bytes.
    let replaced = |path: &Path| {
        let copy = path.with_extension("copy");
        fs::copy(path, &copy).unwrap();
        set_modified(&copy, fs::metadata(path).unwrap().modified().unwrap());
        fs::rename(&copy, path).unwrap();
    };
    assert_eq!([false, true].map(|open| told_after(open, replaced)), [true, false]);
    assert_eq!([false, true].map(|open| told_after(open, |path| fs::remove_file(path).unwrap())), [true, false]);
}

#[test]
fn a_sparse_giant_is_pinned_beside_its_spilled_hashes_and_a_range_of_it_is_proven() {
    let dir = tempfile::tempdir().unwrap();
    let (path, size, at) = (dir.path().join("giant.csv"), 8 << 30, 5 << 30);
    let file = File::create(&path).unwrap();
    file.set_len(size).unwrap();
    file.write_all_at(b"here", at + 20_000).unwrap();
    let mut told = vec![];
    let inputs = Inputs::pin(&[arg("t", &path)], dir.path(), |_, done, total| told.push((done, total))).unwrap();
    assert!(told.len() > 100 && told.is_sorted() && told.last() == Some(&(size, size)));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let (bytes, hashes) = inputs.pinned()[0].source();
    assert_eq!((hashes.size(), Hash::from(hashes.root())), (size, inputs.pinned()[0].entry.hash));
    let got = proven(&*bytes, &*hashes, at, at + (1 << 20));
    assert_eq!((got.len(), &got[20_000..20_004]), (1 << 20, &b"here"[..]));
    assert_eq!(proven(&*bytes, &*hashes, size - (16 << 10), size), vec![0; 16 << 10]);
}

#[test]
fn names_are_checked_before_anything_is_hashed() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.csv", "b.json", "plain", "magic"] {
        fs::write(dir.path().join(name), "PAR2").unwrap();
    }
    fs::write(dir.path().join("magic"), "PAR1").unwrap();
    let at = |name: &str| dir.path().join(name);
    let refused = |args: &[InputArg]| {
        let told = |path: &Path, _, _| panic!("{path:?} was read");
        Inputs::pin(args, dir.path(), told).unwrap_err()
    };
    assert!(matches!(refused(&[arg("t", &at("*"))]), InputError::Format(..)));
    assert!(matches!(refused(&[arg("t", &at("[ab].*"))]), InputError::Manifest(ManifestError::Mixed(_))));
    assert!(matches!(refused(&[arg("t", &at("a.csv")), arg("T", &at("b.json"))]), InputError::Twice(_)));
    assert!(matches!(refused(&[arg("1", &at("a.csv"))]), InputError::Manifest(ManifestError::TableName(_))));
    assert_eq!(pin_one(&at("magic")).unwrap().entries()[0].format, eider_protocol::Format::Parquet);
}

#[test]
fn holes_of_more_bytes_than_a_number_can_name_are_refused() {
    // A folder whose files may be so long.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    for n in 0..3 {
        let file = File::create(dir.path().join(format!("{n}.csv"))).unwrap();
        if file.set_len(i64::MAX.cast_unsigned()).is_err() {
            return;
        }
    }
    let error = pin_one(&dir.path().join("*.csv")).unwrap_err();
    assert!(matches!(&error, InputError::TooLarge(table, path) if table == "t" && path.ends_with("2.csv")), "{error}");
}
