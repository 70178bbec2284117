//! A program, made and compiled, and the test that each of them goes through.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use eider_sandbox::{CONTRACT, Image, Variant, inspect};
use eider_tests::programs::{self, Ends, Header, Make};

use crate::checks;
use crate::run::{self, End, Seen, Terms};

/// What a cell's process may have beside the linear memory of its job: the program, the window, buffers of one call.
const OVERHEAD: u64 = 128 << 20;
/// A small program that takes longer to compile is a bomb.
const COMPILE_MAX: Duration = Duration::from_secs(20);
/// What the compiled image of a small program may have, bytes.
const IMAGE_MAX: u64 = 64 << 20;
/// The program that must be able to run after every other one.
const GOOD: &str = "good";

/// A program, ready to run.
pub(crate) struct Lab {
    header: Header,
    engine: Vec<u8>,
    image: Result<Image, String>,
    runtime: tokio::runtime::Runtime,
    /// Holds the image.
    _cache: tempfile::TempDir,
}

/// Looks closer at what was seen of a program; may run it again.
pub(crate) type Check = fn(&Lab, &Seen);

/// The test of one program.
pub(crate) fn test(name: &str, check: Check) {
    let lab = Lab::new(name);
    let seen = lab.run(0);
    assert!(agrees(&lab.header.ends, &seen.end), "must end {:?}, ended {:?}", lab.header.ends, seen.end);
    check(&lab, &seen);
    let good = Lab::new(GOOD);
    checks::good(&good, &good.run(0));
}

impl Lab {
    fn new(name: &str) -> Self {
        let text = programs::text(name);
        let header = Header::parse(&text).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut engine = programs::engine(&text, &header);
        let mut image = compile(dir.path(), &engine, header.metered);
        if header.make.contains(&Make::Compiled) {
            engine = std::fs::read(largest(dir.path())).unwrap();
            image = compile(dir.path(), &engine, header.metered);
        }
        if image.is_ok() {
            let bytes = largest(dir.path()).metadata().unwrap().len();
            assert!(bytes < IMAGE_MAX, "{} bytes were compiled to {bytes}", engine.len());
        }
        // One thread, so that the processes that it starts are those of this test.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { header, engine, image, runtime, _cache: dir }
    }

    /// One run with this secret among the inputs.
    pub(crate) fn run(&self, secret: u8) -> Seen {
        // Whatever the bytes are, this may fail and not panic.
        let inspection = inspect(&self.engine);
        let image = match &self.image {
            Ok(image) => image,
            Err(e) => {
                assert!(!e.contains("panicked") && !e.contains("ended by signal"), "the compiler crashed: {e}");
                return Seen::nothing(End::Refused(e.clone()));
            }
        };
        let terms = Terms {
            memory: self.memory(),
            fuel: self.header.fuel,
            inputs: self.header.inputs,
            secret,
            kill: self.header.ends == Ends::Killed,
        };
        let seen = self.runtime.block_on(run::run(image, terms));
        if !matches!(seen.end, End::Refused(_)) {
            // What a cell gives is what people were told that it would.
            assert_eq!(inspection.unwrap().refusal(&CONTRACT), None, "inspection and cell disagree");
        }
        let most = self.memory() + OVERHEAD;
        assert!(seen.resident <= most, "the process had {} bytes, at most {most} are right", seen.resident);
        if let End::Completed { usage, .. } = &seen.end {
            assert!(usage.memory <= self.memory(), "{} bytes of memory were used", usage.memory);
        }
        seen
    }

    /// Linear memory of its job, bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.header.memory_mib << 20
    }
}

fn agrees(ends: &Ends, end: &End) -> bool {
    match (ends, end) {
        (Ends::Refused(says), End::Refused(why)) => why.contains(says),
        (Ends::Failed(kind, says), End::Failed(k, why)) => *kind == format!("{k:?}") && why.contains(says),
        (Ends::Lacks(lack, says), End::Lacks(l, why)) => *lack == format!("{l:?}") && why.contains(says),
        (Ends::Completed, End::Completed { .. }) | (Ends::Killed, End::Killed) => true,
        _ => false,
    }
}

fn compile(dir: &Path, engine: &[u8], metered: bool) -> Result<Image, String> {
    let started = Instant::now();
    let variant = if metered { Variant::Metered } else { Variant::Plain };
    let image = programs::compile(dir, &run::cells(), engine, variant);
    let took = started.elapsed();
    assert!(took < COMPILE_MAX, "{} bytes took {took:?} to compile", engine.len());
    image
}

/// The largest file in a folder, which is the image.
fn largest(dir: &Path) -> PathBuf {
    let files = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    files.max_by_key(|p| p.metadata().unwrap().len()).unwrap()
}
