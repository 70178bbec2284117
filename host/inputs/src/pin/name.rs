//! From what the user wrote to paths, in bounds.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use eider_protocol::{Format, InputEntry};

use super::InputError;

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

/// A file that an argument names.
pub(super) struct Named {
    pub(super) table: String,
    /// What it is called inside the sandbox.
    pub(super) file: String,
    pub(super) path: PathBuf,
}

/// All files that the arguments name. None is opened, and no more are looked up than fit one job.
pub(super) fn expand(args: &[InputArg]) -> Result<Vec<Named>, InputError> {
    let mut named = vec![];
    for (i, arg) in args.iter().enumerate() {
        if args[..i].iter().any(|a| a.name.eq_ignore_ascii_case(&arg.name)) {
            return Err(InputError::Twice(arg.name.clone()));
        }
        let mut paths = matches(arg, named.len())?;
        paths.sort();
        let leaves: HashSet<_> = paths.iter().map(|path| path.file_name()).collect();
        let unique = leaves.len() == paths.len();
        named.extend(paths.into_iter().map(|path| {
            // Two folders may hold files of one name; their whole paths then tell them apart.
            let leaf = if unique { path.file_name().unwrap_or_default() } else { path.as_os_str() };
            let leaf = leaf.to_string_lossy().trim_start_matches('/').replace('/', "__");
            Named { table: arg.name.clone(), file: format!("{}/{leaf}", arg.name), path }
        }));
    }
    Ok(named)
}

/// The paths of one argument, beside `before` others.
fn matches(arg: &InputArg, before: usize) -> Result<Vec<PathBuf>, InputError> {
    let bounded = |count: usize| {
        let (name, pattern) = (arg.name.clone(), arg.pattern.clone());
        if count > InputEntry::MAX { Err(InputError::TooMany { name, pattern, count }) } else { Ok(()) }
    };
    let literal = PathBuf::from(&arg.pattern);
    if literal.exists() || !arg.pattern.contains(['*', '?', '[']) {
        bounded(before + 1)?;
        return Ok(vec![literal]);
    }
    let bad = |e: &dyn std::fmt::Display| InputError::Glob(arg.name.clone(), arg.pattern.clone(), e.to_string());
    let mut paths = vec![];
    for path in glob::glob(&arg.pattern).map_err(|e| bad(&e))? {
        let path = path.map_err(|e| bad(&e))?;
        if path.is_file() {
            paths.push(path);
            bounded(before + paths.len())?;
        }
    }
    if paths.is_empty() {
        return Err(InputError::NoMatch(arg.name.clone(), arg.pattern.clone()));
    }
    Ok(paths)
}

/// By extension.
pub(super) fn format_of_name(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    let stem = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    match stem.rsplit_once('.').map(|(_, ext)| ext) {
        Some("parquet" | "pq") => Some(Format::Parquet),
        Some("csv" | "tsv") => Some(Format::Csv),
        Some("json" | "jsonl" | "ndjson") => Some(Format::Json),
        _ => None,
    }
}

/// By Parquet's magic bytes.
pub(super) fn format_of_bytes(file: &mut File) -> Option<Format> {
    let mut magic = [0; 4];
    file.read_exact(&mut magic).ok()?;
    (&magic == b"PAR1").then_some(Format::Parquet)
}
