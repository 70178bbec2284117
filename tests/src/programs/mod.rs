//! The small programs of `guest/programs`: from a text to the bytes of an engine, and to an image of it.
#![allow(clippy::unwrap_used, reason = "a text that is wrong fails the test that it is for")]

mod header;

use std::fs;
use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use eider_sandbox::{Baseline, Cell, CellCommand, CellError, Finished, Image, ImageCache, Input, JobSpec, Variant};

use crate::NoBroker;

pub use header::{Ends, Header, Make, Prelude};

/// What a prelude has for a program that does not bring it.
const OF_MODULE: [&str; 5] = ["memory", "cabi_realloc", "init", "describe", "run"];
const OF_COMPONENT: [&str; 3] = ["init", "describe", "run"];
/// Section of a component that holds a component (Binary.md of the component model).
const COMPONENT_SECTION: u8 = 4;
/// The preamble of a component.
const PREAMBLE: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

fn guest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest")
}

/// The text of a program.
pub fn text(name: &str) -> String {
    fs::read_to_string(guest().join("programs").join(name).with_extension("wat")).unwrap()
}

/// The engine, but for [`Make::Compiled`], which takes a compiler.
pub fn engine(text: &str, header: &Header) -> Vec<u8> {
    if header.make.contains(&Make::Text) {
        return text.as_bytes().to_vec();
    }
    let body = expand(text);
    let whole = match header.prelude {
        Prelude::None => body,
        // What the text exports itself is not added.
        Prelude::Module => surround("module", &body, &OF_MODULE, |name| body.contains(&format!("(export \"{name}\""))),
        Prelude::Component => {
            surround("component", &body, &OF_COMPONENT, |name| header.without.iter().any(|w| w == name))
        }
    };
    let bytes = wat::parse_str(&whole).unwrap_or_else(|e| panic!("{e}"));
    let is_module = bytes[4..8] == [1, 0, 0, 0];
    let mut bytes = if is_module && !header.make.contains(&Make::Core) { component(bytes) } else { bytes };
    header.make.iter().for_each(|rule| change(&mut bytes, rule));
    bytes
}

/// Compiles an engine into a folder, or says why not.
pub fn compile(dir: &Path, command: &CellCommand, engine: &[u8], variant: Variant) -> Result<Image, String> {
    let cache = ImageCache::open(dir, command.clone()).unwrap();
    cache.image(blake3::hash(engine), variant, || Ok(engine.to_vec()), |_| {}).map_err(|e| e.to_string())
}

/// The image of a program that compiles, with a meter if it says so, for cells of `command`. The folder holds it.
pub fn image(dir: &Path, command: &CellCommand, text: &str) -> Image {
    let header = Header::parse(text).unwrap();
    let variant = if header.metered { Variant::Metered } else { Variant::Plain };
    compile(dir, command, &engine(text, &header), variant).unwrap()
}

/// Whether this processor has the instructions of a baseline.
pub fn runs_here(baseline: Baseline) -> bool {
    match baseline {
        #[cfg(target_arch = "x86_64")]
        Baseline::X86_64V4 => std::is_x86_feature_detected!("avx512vl") && std::is_x86_feature_detected!("avx512dq"),
        #[cfg(target_arch = "x86_64")]
        Baseline::X86_64V3 => std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("bmi2"),
        other => other == Baseline::HERE,
    }
}

/// Runs a job with one input in a cell.
///
/// # Errors
/// [`CellError`].
pub async fn run(cell: Cell) -> Result<Finished, CellError> {
    cell.run(job(&[4096]), &mut NoBroker).await
}

/// A job with inputs of so many bytes.
pub fn job(sizes: &[u64]) -> JobSpec {
    let input = |size: &u64| Input { table: "t".into(), file: "t/a".into(), format: "csv".into(), size: *size };
    JobSpec {
        sql: String::new(),
        time_us: 0,
        seed: [0; 32],
        memory: 64 << 20,
        result: 1 << 20,
        fuel: None,
        inputs: sizes.iter().map(input).collect(),
    }
}

/// Runs the job that the program `good` wants in a cell of it, which must end with a result.
pub async fn run_good(cell: Cell) {
    let ran = run(cell).await.unwrap();
    assert!(matches!(ran, Finished::Done { .. }), "{ran:?}");
}

/// Puts a prelude before the text, and after it those of its exports that are not to be left out.
fn surround(kind: &str, body: &str, exports: &[&str], left_out: impl Fn(&str) -> bool) -> String {
    let added = exports.iter().filter(|name| !left_out(name));
    let rest: String = added.map(|name| text(&format!("prelude/{kind}-{name}"))).collect();
    format!("({kind}\n{}\n{body}\n{rest})", text(&format!("prelude/{kind}")))
}

/// Replaces each `{{N|text}}` by N times the text, in which `#` is the number of the repetition.
fn expand(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, (inside, after))) = rest.split_once("{{").and_then(|(b, r)| Some((b, r.split_once("}}")?)))
    {
        let (n, part) = inside.split_once('|').unwrap();
        out.push_str(before);
        for i in 0..n.parse::<usize>().unwrap() {
            out.push_str(&part.replace('#', &i.to_string()));
        }
        rest = after;
    }
    out + rest
}

/// A core module that follows the canonical names becomes a component of our world.
fn component(mut core: Vec<u8>) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_file(guest().join("wit/engine.wit")).unwrap();
    let world = resolve.select_world(&[package], Some("query-engine")).unwrap();
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8, false).unwrap();
    // Whether it is valid is for the sandbox to find.
    ComponentEncoder::default()
        .validate(false)
        .module(&core)
        .and_then(|e| e.encode())
        .unwrap_or_else(|e| panic!("{e:?}"))
}

fn change(bytes: &mut Vec<u8>, rule: &Make) {
    match rule {
        Make::Truncate(n) => bytes.truncate(*n),
        Make::Flip(at) => bytes[*at] ^= 0xff,
        Make::Version(v) => bytes[4] = *v,
        Make::Nest(depth) => nest(bytes, *depth),
        Make::Append(n) => bytes.extend(std::iter::repeat_n(0xa5, *n)),
        Make::Core | Make::Text | Make::Compiled => {}
    }
}

/// Appends a section that holds a component that holds a component, `depth` levels down.
fn nest(bytes: &mut Vec<u8>, depth: usize) {
    // From the inside out, written backwards.
    let mut section: Vec<u8> = vec![];
    for _ in 0..depth {
        section.extend(PREAMBLE.iter().rev());
        let length = leb128(section.len());
        section.extend(length.iter().rev());
        section.push(COMPONENT_SECTION);
    }
    bytes.extend(section.iter().rev());
}

fn leb128(mut n: usize) -> Vec<u8> {
    let mut out = vec![];
    loop {
        let low = u8::try_from(n & 0x7f).unwrap();
        n >>= 7;
        out.push(if n == 0 { low } else { low | 0x80 });
        if n == 0 {
            return out;
        }
    }
}
