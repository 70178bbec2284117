//! The requester's inputs: names and globs resolved to pinned objects.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use eider_net::{Source, file_outboard};
use eider_protocol::{Format, Hash, InputEntry, InputsSummary, ManifestError, manifest_check};

/// `name=path-or-glob`, as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputArg {
    /// The table's name.
    pub name: String,
    /// A path or a glob.
    pub pattern: String,
}

impl FromStr for InputArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, pattern)) if !name.is_empty() && !pattern.is_empty() => {
                Ok(Self { name: name.into(), pattern: pattern.into() })
            }
            _ => Err(format!("{text:?} is not NAME=PATH, for example orders=data/orders.parquet or logs='logs/*.csv'")),
        }
    }
}

/// Why the inputs cannot be pinned. Each names the argument that is at fault.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file that cannot be read.
    #[error("input {name}: {path}: {source}")]
    Io {
        /// The table.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a pattern.
    #[error("input {0}: {1:?} is not a valid glob: {2}")]
    Glob(String, String, String),
    /// No file.
    #[error("input {0}: nothing matches {1:?}")]
    NoMatch(String, String),
    /// A folder, a device, …
    #[error("input {0}: {1} is not a regular file")]
    NotAFile(String, PathBuf),
    /// No format can be told.
    #[error(
        "input {0}: cannot tell the format of {1}: name it .parquet, .csv, .tsv, .json, .jsonl or .ndjson (also with .gz or .zst)"
    )]
    Format(String, PathBuf),
    /// A name twice.
    #[error("input {0}: the name is used twice")]
    Twice(String),
    /// It changed while it was hashed.
    #[error("input {0}: {1} changed while it was read; run the query again when it is at rest")]
    Changed(String, PathBuf),
    /// Names and counts.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// One object, open, with what it was when it was hashed.
#[derive(Clone, Debug)]
pub struct PinnedInput {
    /// As the manifest has it.
    pub entry: InputEntry,
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes and hashes.
    pub source: Source,
    stamp: Stamp,
}

/// What changes when a file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: (i64, i64),
    inode: u64,
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self { size: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()), inode: meta.ino() }
    }
}

impl PinnedInput {
    /// Whether the file is still what was hashed, as far as its metadata can tell.
    pub fn unchanged(&self) -> bool {
        self.source.file.metadata().is_ok_and(|m| Stamp::of(&m) == self.stamp)
    }
}

/// All inputs of a job.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    pinned: Vec<PinnedInput>,
}

impl Inputs {
    /// Resolves and hashes. Blocks for as long as reading all files takes; `progress` is told of each file.
    ///
    /// # Errors
    /// [`InputError`], the first that is found.
    pub fn pin(args: &[InputArg], mut progress: impl FnMut(&Path, u64)) -> Result<Self, InputError> {
        let mut pinned = vec![];
        for (i, arg) in args.iter().enumerate() {
            if args[..i].iter().any(|a| a.name.eq_ignore_ascii_case(&arg.name)) {
                return Err(InputError::Twice(arg.name.clone()));
            }
            let mut files = expand(arg)?;
            files.sort();
            let leaves: std::collections::HashSet<_> = files.iter().map(|f| f.file_name()).collect();
            let unique = leaves.len() == files.len();
            for path in &files {
                let input = pin_file(&arg.name, path, unique, &mut progress)?;
                pinned.push(input);
            }
        }
        let entries: Vec<_> = pinned.iter().map(|p: &PinnedInput| p.entry.clone()).collect();
        manifest_check(&entries)?;
        Ok(Self { pinned })
    }

    /// The objects.
    pub fn pinned(&self) -> &[PinnedInput] {
        &self.pinned
    }

    /// The manifest.
    pub fn entries(&self) -> Vec<InputEntry> {
        self.pinned.iter().map(|p| p.entry.clone()).collect()
    }

    /// Count and bytes.
    pub fn summary(&self) -> InputsSummary {
        InputsSummary {
            count: u32::try_from(self.pinned.len()).unwrap_or(u32::MAX),
            bytes: self.pinned.iter().map(|p| p.entry.size).sum(),
        }
    }

    /// The first input that is not what it was when it was pinned.
    pub fn changed(&self) -> Option<&PinnedInput> {
        self.pinned.iter().find(|p| !p.unchanged())
    }
}

fn expand(arg: &InputArg) -> Result<Vec<PathBuf>, InputError> {
    let literal = PathBuf::from(&arg.pattern);
    if literal.exists() || !arg.pattern.contains(['*', '?', '[']) {
        return Ok(vec![literal]);
    }
    let bad = |e: &dyn std::fmt::Display| InputError::Glob(arg.name.clone(), arg.pattern.clone(), e.to_string());
    let mut files = vec![];
    for path in glob::glob(&arg.pattern).map_err(|e| bad(&e))? {
        let path = path.map_err(|e| bad(&e))?;
        if path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(InputError::NoMatch(arg.name.clone(), arg.pattern.clone()));
    }
    Ok(files)
}

fn pin_file(
    name: &str,
    path: &Path,
    unique: bool,
    progress: &mut impl FnMut(&Path, u64),
) -> Result<PinnedInput, InputError> {
    let io = |source| InputError::Io { name: name.into(), path: path.into(), source };
    let mut file = File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(InputError::NotAFile(name.into(), path.into()));
    }
    let format = format_of(path, &mut file).ok_or_else(|| InputError::Format(name.into(), path.into()))?;
    let stamp = Stamp::of(&meta);
    progress(path, stamp.size);
    let changed = || InputError::Changed(name.into(), path.into());
    let outboard = file_outboard(&mut file, stamp.size)
        .map_err(|e| if e.kind() == io::ErrorKind::UnexpectedEof { changed() } else { io(e) })?;
    if Stamp::of(&file.metadata().map_err(io)?) != stamp {
        return Err(changed());
    }
    // Two folders may hold files of one name; their whole paths then tell them apart.
    let leaf = if unique { path.file_name().unwrap_or_default() } else { path.as_os_str() };
    let leaf = leaf.to_string_lossy().trim_start_matches('/').replace('/', "__");
    let entry = InputEntry {
        table: name.into(),
        file: format!("{name}/{leaf}"),
        format,
        size: stamp.size,
        hash: Hash::from(outboard.root),
    };
    let source = Source { file: Arc::new(file), outboard: Arc::new(outboard), checked: true };
    Ok(PinnedInput { entry, path: path.into(), source, stamp })
}

/// By extension, or by Parquet's magic bytes.
fn format_of(path: &Path, file: &mut File) -> Option<Format> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    let stem = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    match stem.rsplit_once('.').map(|(_, ext)| ext) {
        Some("parquet" | "pq") => return Some(Format::Parquet),
        Some("csv" | "tsv") => return Some(Format::Csv),
        Some("json" | "jsonl" | "ndjson") => return Some(Format::Json),
        _ => {}
    }
    let mut magic = [0; 4];
    io::Read::read_exact(file, &mut magic).ok()?;
    io::Seek::rewind(file).ok()?;
    (&magic == b"PAR1").then_some(Format::Parquet)
}
