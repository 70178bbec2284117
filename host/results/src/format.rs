//! The forms' names.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A form that a result can leave in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutputFormat {
    /// For eyes: the first 100 rows.
    Table,
    /// Comma separated values with a header.
    Csv,
    /// One JSON object a line.
    Json,
    /// The Arrow IPC stream as the workers committed to it.
    Arrow,
    /// An Apache Parquet file.
    Parquet,
}

impl OutputFormat {
    /// Every form.
    pub const ALL: [Self; 5] = [Self::Table, Self::Csv, Self::Json, Self::Arrow, Self::Parquet];

    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
        }
    }

    /// What it is, in a line for a user.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Table => "For eyes: the first 100 rows",
            Self::Csv => "Comma separated values with a header",
            Self::Json => "One JSON object a line",
            Self::Arrow => "The Arrow IPC stream as the workers committed to it",
            Self::Parquet => "An Apache Parquet file",
        }
    }

    /// The form that a file's name asks for by its ending.
    pub fn of_path(path: &Path) -> Option<Self> {
        path.extension()?.to_str()?.parse().ok()
    }
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that names no form.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no form of a result")]
pub struct UnknownFormat(String);

impl FromStr for OutputFormat {
    type Err = UnknownFormat;
    fn from_str(word: &str) -> Result<Self, UnknownFormat> {
        let named = Self::ALL.into_iter().find(|f| f.word().eq_ignore_ascii_case(word));
        named.ok_or_else(|| UnknownFormat(word.into()))
    }
}
