//! The head of a behaviour's file: what it costs, and who is blamed.

/// A query that honest workers need some tenths of a second for, so that a stranger commits before them; its result is small.
const SQL: &str = "SELECT count(*), max(i) FROM range(20000000) t(i)";

/// What the first lines of a behaviour's file say, each after `//! `.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// What it does.
    pub what: String,
    /// `loses:` what its victim loses by it, bounded.
    pub loses: String,
    /// `fates:` in `answers/`: what the requester's record may say of it, alternatives separated by `|`.
    pub fates: Vec<String>,
    /// `strangers:` how many of it there are; one unless said.
    pub strangers: usize,
    /// `plan:` k and quorum of the job that it is in, as `4 3`, which is the default: beside three honest workers it is always
    /// chosen.
    pub plan: (usize, usize),
    /// `sql:` the job's query; one of some tenths of a second unless said.
    pub sql: String,
    /// `ends:` how the job may end, alternatives separated by `|`; `verified` unless said.
    pub ends: Vec<String>,
    /// `jobs:` how many jobs it comes to, one after the other; one unless said.
    pub jobs: usize,
    /// `input:` bytes of the CSV file that the job has as table `t`; none unless said.
    pub input: usize,
    /// `deadline:` of the job, seconds; ten minutes unless said.
    pub deadline: u64,
    /// `executions:` that the job may cause; as many as plans have unless said.
    pub executions: Option<usize>,
    /// `keys:` how many of its strangers have a key of their own; all unless said.
    pub keys: Option<usize>,
    /// `requester: new` has no connection yet, also not to the honest workers.
    pub new_requester: bool,
    /// `keeps: both commits` must the record, whatever the fate.
    pub keeps_both: bool,
    /// `raw: yes` where it speaks QUIC by itself, as it also does where one of the next three is said.
    pub raw: bool,
    /// `streams:` that it lets the requester open; 64 unless said.
    pub streams: u32,
    /// `window:` bytes that it lets the requester send unread; 128 KiB unless said.
    pub window: u32,
    /// `alpn:` the version that it speaks; `eider/3` unless said.
    pub alpn: String,
}

impl Head {
    /// Parses a file of `asks/` or, with fates, of `answers/`.
    ///
    /// # Errors
    /// What is missing.
    pub fn parse(text: &str, answers: bool) -> Result<Self, String> {
        let mut head = Self {
            strangers: 1,
            plan: (4, 3),
            sql: SQL.into(),
            ends: vec!["verified".into()],
            jobs: 1,
            deadline: 600,
            streams: 64,
            window: 128 << 10,
            alpn: "eider/3".into(),
            ..Self::default()
        };
        for line in text.lines().map_while(|l| l.strip_prefix("//! ")) {
            match line.split_once(": ") {
                Some(("loses", text)) => head.loses = text.into(),
                Some(("fates", text)) => head.fates = alternatives(text),
                Some(("ends", text)) => head.ends = alternatives(text),
                Some(("strangers", n)) => head.strangers = number("strangers", n)?,
                Some(("jobs", n)) => head.jobs = number("jobs", n)?,
                Some(("input", n)) => head.input = number("input", n)?,
                Some(("deadline", n)) => head.deadline = number("deadline", n)?,
                Some(("executions", n)) => head.executions = Some(number("executions", n)?),
                Some(("keys", n)) => head.keys = Some(number("keys", n)?),
                Some(("streams", n)) => (head.raw, head.streams) = (true, number("streams", n)?),
                Some(("window", n)) => (head.raw, head.window) = (true, number("window", n)?),
                Some(("alpn", text)) => (head.raw, head.alpn) = (true, text.into()),
                Some(("raw", "yes")) => head.raw = true,
                Some(("requester", "new")) => head.new_requester = true,
                Some(("keeps", "both commits")) => head.keeps_both = true,
                Some(("plan", text)) => {
                    let numbers: Result<Vec<usize>, _> = text.split(' ').map(str::parse).collect();
                    let Ok([k, q]) = numbers.as_deref() else { return Err(format!("plan: {text:?} is not K Q")) };
                    head.plan = (*k, *q);
                }
                Some(("sql", text)) => head.sql = text.into(),
                _ => head.what = format!("{} {line}", head.what).trim().into(),
            }
        }
        if head.what.is_empty() || head.loses.is_empty() {
            return Err("must begin with `//! what it does` and `//! loses: what its victim loses`".into());
        }
        if answers && head.fates.is_empty() {
            return Err("must say `//! fates: what the record may say of it`".into());
        }
        Ok(head)
    }
}

fn alternatives(text: &str) -> Vec<String> {
    text.split('|').map(|f| f.trim().to_string()).collect()
}

fn number<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|e| format!("{name}: {e}"))
}
