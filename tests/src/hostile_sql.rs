//! The statements of `tests/hostile-sql`, a file each.
//!
//! A file starts with a comment that says what it tries, and lines of the form `-- word: value`. The statement follows.
//!
//! ```text
//! -- One sentence.
//! -- ends: KIND PART        the job fails by agreement; KIND is denied, query, memory, input, internal, trap or
//!                           result-limit (with the `max-result` that is said), and the message contains PART
//! -- ends: harmless         it completes, with `rows` or with `result` as it is said
//! -- ends: deadline         it is ended by the `deadline` that is said, and soon after it
//! -- rows: N                rows of a harmless result
//! -- result: LINE           a line of a harmless result as CSV without header; repeat for more
//! -- deadline: 700ms        the job's deadline; 60 s unless said
//! -- memory: 128MiB         the job's memory; 256 MiB unless said
//! -- max-result: 1MiB       the largest result; 64 MiB unless said
//! -- input: FILE TEXT       a granted input, whose table is FILE without its suffix; \n is a new line in it
//! -- after: NAME            the statement NAME runs just before, on the same workers
//! -- repeat: N              each {{part}} of the statement stands there N times; {n} in it is the number of the
//!                           repetition, from 1, and {n-1} the one before
//! ```
//!
//! `\u{…}` in a statement is the character with that number in hexadecimal.
#![allow(clippy::unwrap_used, reason = "a file that is wrong fails the test that it is for")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eider_protocol::{FailureKind, Outcome};

use crate::{Job, Ran};

/// Beyond its deadline a job may take this long to be reported as ended, on a busy machine.
const ENDS_WITHIN: Duration = Duration::from_secs(2);
/// Fewer files than this are a mistake in finding them.
const FEWEST: usize = 95;

/// How a statement is to end.
#[derive(Debug, PartialEq, Eq)]
pub enum Ends {
    /// With a failure of this kind, whose message has this in it.
    Fails(FailureKind, String),
    /// With so many rows.
    Rows(u64),
    /// With these lines as CSV.
    Result(Vec<String>),
    /// By the job's deadline.
    Deadline,
}

/// A file, parsed.
#[derive(Debug)]
pub struct Statement {
    /// The statement.
    pub sql: String,
    /// How it ends.
    pub ends: Ends,
    /// The job's deadline.
    pub deadline_ms: u64,
    /// The job's memory, bytes.
    pub memory: u64,
    /// The largest result, bytes.
    pub max_result: u64,
    /// Granted inputs: file and text.
    pub inputs: Vec<(String, String)>,
    /// What runs before it.
    pub after: Option<String>,
}

/// The values of the header's words, each of which is taken once.
struct Header<'a>(BTreeMap<&'a str, Vec<&'a str>>);

impl Header<'_> {
    fn all(&mut self, word: &str) -> Vec<String> {
        self.0.remove(word).unwrap_or_default().into_iter().map(str::to_owned).collect()
    }

    fn one(&mut self, word: &str) -> Result<Option<String>, String> {
        let mut all = self.all(word);
        if all.len() > 1 {
            return Err(format!("`{word}` is said twice"));
        }
        Ok(all.pop())
    }

    fn number(&mut self, word: &str, units: &[(&str, u64)]) -> Result<Option<u64>, String> {
        let Some(value) = self.one(word)? else { return Ok(None) };
        let parse = |(unit, size): &(&str, u64)| Some(value.strip_suffix(unit)?.parse::<u64>().ok()? * size);
        units.iter().find_map(parse).map(Some).ok_or_else(|| format!("`{word}: {value}` is not understood"))
    }

    fn ends(&mut self) -> Result<Ends, String> {
        let ends = self.one("ends")?.ok_or("it does not say how it ends")?;
        let (word, part) = ends.split_once(' ').unwrap_or((&ends, ""));
        let (rows, result) = (self.number("rows", &[("", 1)])?, self.all("result"));
        if word != "harmless" && (rows.is_some() || !result.is_empty()) {
            return Err("only a harmless statement has rows or a result".into());
        }
        let kind = match word {
            "denied" => FailureKind::Denied,
            "query" => FailureKind::Query,
            "memory" => FailureKind::Memory,
            "input" => FailureKind::Input,
            "internal" => FailureKind::Internal,
            "trap" => FailureKind::Trap,
            "result-limit" if self.0.contains_key("max-result") => FailureKind::Result,
            _ => {
                return match (ends.as_str(), rows, result.is_empty()) {
                    ("harmless", Some(rows), true) => Ok(Ends::Rows(rows)),
                    ("harmless", None, false) => Ok(Ends::Result(result)),
                    ("harmless", ..) => Err("a harmless statement says either rows or a result".into()),
                    ("deadline", ..) if self.0.contains_key("deadline") => Ok(Ends::Deadline),
                    ("deadline" | "result-limit", ..) => Err(format!("`{word}` does not say which")),
                    _ => Err(format!("`ends: {ends}` is not understood")),
                };
            }
        };
        if part.is_empty() {
            return Err(format!("`ends: {ends}` does not say what the message contains"));
        }
        Ok(Ends::Fails(kind, part.into()))
    }
}

impl Statement {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let sentence = lines.next().and_then(|l| l.strip_prefix("-- ")).ok_or("it does not start with a comment")?;
        if !sentence.ends_with('.') {
            return Err("its first line is not a sentence".into());
        }
        let mut header = Header(BTreeMap::new());
        let mut sql = vec![];
        for line in lines {
            match line.strip_prefix("-- ").filter(|_| sql.is_empty()) {
                Some(said) => {
                    let (word, value) = said.split_once(": ").ok_or_else(|| format!("`{said}` has no value"))?;
                    header.0.entry(word).or_default().push(value);
                }
                None => sql.push(line),
            }
        }
        const MIB: &[(&str, u64)] = &[("MiB", 1 << 20), ("GiB", 1 << 30)];
        let ends = header.ends()?;
        let repeat = header.number("repeat", &[("", 1)])?;
        let statement = Self {
            sql: unescape(&expand(&sql.join("\n"), repeat)?)?,
            ends,
            deadline_ms: header.number("deadline", &[("ms", 1), ("s", 1000)])?.unwrap_or(60_000),
            memory: header.number("memory", MIB)?.unwrap_or(256 << 20),
            max_result: header.number("max-result", MIB)?.unwrap_or(64 << 20),
            inputs: header.all("input").iter().map(|i| input(i)).collect::<Result<_, _>>()?,
            after: header.one("after")?,
        };
        match header.0.keys().next() {
            Some(word) => Err(format!("`{word}` is not understood")),
            None if statement.sql.is_empty() => Err("it has no statement".into()),
            None => Ok(statement),
        }
    }

    /// The job on `workers` workers, all of which must agree. Inputs are written into `dir`.
    pub fn job(&self, workers: usize, dir: &Path) -> Job {
        let mut job = Job::new(&self.sql).of(workers, workers);
        job.plan.deadline_ms = self.deadline_ms;
        (job.memory, job.result) = (self.memory, self.max_result);
        for (file, text) in &self.inputs {
            let path = dir.join(file);
            std::fs::write(&path, text).unwrap();
            job = job.input(path.file_stem().unwrap().to_str().unwrap(), &path);
        }
        job
    }

    /// Whether the job ended as is said.
    ///
    /// # Errors
    /// How it ended instead.
    pub fn check(&self, ran: &Ran, took: Duration) -> Result<(), String> {
        let record = &ran.record;
        let other = || Err(format!("{}: {}", record.end, record.reason.chars().take(400).collect::<String>()));
        if let Some(blamed) = record.peers.iter().find(|p| p.at_fault) {
            return Err(format!("a worker was blamed: {}", blamed.fate));
        }
        match (&self.ends, &record.outcome) {
            (Ends::Fails(kind, part), Some(Outcome::Failed { kind: k, message, .. })) => {
                if kind != k || !message.contains(part.as_str()) || !ran.bytes.is_empty() {
                    return other();
                }
            }
            (Ends::Rows(rows), Some(Outcome::Completed { rows: r, .. })) => {
                if rows != r {
                    return Err(format!("{r} rows"));
                }
            }
            (Ends::Result(lines), Some(Outcome::Completed { .. })) => {
                let csv = ran.csv().map_err(|e| e.to_string())?;
                if csv.lines().ne(lines) {
                    return Err(format!("the result is\n{}", csv.chars().take(1000).collect::<String>()));
                }
            }
            (Ends::Deadline, None) => {
                if !["deadline-passed", "no-quorum"].contains(&record.end.word()) {
                    return other();
                }
                if took > Duration::from_millis(self.deadline_ms) + ENDS_WITHIN {
                    return Err(format!("it was ended after {took:?} only"));
                }
            }
            _ => return other(),
        }
        Ok(())
    }
}

fn input(said: &str) -> Result<(String, String), String> {
    let (file, text) = said.split_once(' ').ok_or("an input has a file and its text")?;
    Ok((file.into(), text.replace("\\n", "\n")))
}

/// Writes each `{{part}}` out as often as is said.
fn expand(sql: &str, repeat: Option<u64>) -> Result<String, String> {
    let Some(repeat) = repeat else { return Ok(sql.into()) };
    let (mut out, mut rest, mut parts) = (String::new(), sql, 0);
    while let Some(start) = rest.find("{{") {
        let inside = &rest[start + 2..];
        let mut end = inside.find("}}").ok_or("a {{ without its }}")?;
        // A part may end with a brace: the last two close it.
        end += inside[end + 2..].bytes().take_while(|b| *b == b'}').count();
        out.push_str(&rest[..start]);
        for n in 1..=repeat {
            out.push_str(&inside[..end].replace("{n}", &n.to_string()).replace("{n-1}", &(n - 1).to_string()));
        }
        rest = &inside[end + 2..];
        parts += 1;
    }
    if parts == 0 {
        return Err("nothing in it is to be repeated".into());
    }
    Ok(out + rest)
}

fn unescape(sql: &str) -> Result<String, String> {
    let mut parts = sql.split("\\u{");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (hex, rest) = part.split_once('}').ok_or("a \\u{ without its }")?;
        let c = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
        out.push(c.ok_or_else(|| format!("\\u{{{hex}}} is no character"))?);
        out.push_str(rest);
    }
    Ok(out)
}

/// All files by name. Whatever is wrong with one of them is said with its name.
pub fn statements() -> BTreeMap<String, Statement> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("hostile-sql");
    let mut all = BTreeMap::new();
    for file in std::fs::read_dir(&dir).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let stem = name.strip_suffix(".sql").unwrap_or_else(|| panic!("{name}: only .sql files belong here"));
        let parsed = Statement::parse(&std::fs::read_to_string(&path).unwrap());
        all.insert(stem.to_owned(), parsed.unwrap_or_else(|e| panic!("{name}: {e}")));
    }
    for (name, statement) in &all {
        assert!(
            statement.after.as_ref().is_none_or(|a| all.contains_key(a)),
            "{name}.sql: comes after what is not there"
        );
    }
    assert!(all.len() >= FEWEST, "{} files in {}", all.len(), dir.display());
    all
}
