//! The head of a behaviour's file: what it costs, and who is blamed.

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
    /// `sql:` the job's query; `SELECT 42` unless said.
    pub sql: String,
}

impl Head {
    /// Parses a file of `asks/` or, with fates, of `answers/`.
    ///
    /// # Errors
    /// What is missing.
    pub fn parse(text: &str, answers: bool) -> Result<Self, String> {
        let mut head = Self { strangers: 1, plan: (4, 3), sql: "SELECT 42".into(), ..Self::default() };
        for line in text.lines().map_while(|l| l.strip_prefix("//! ")) {
            match line.split_once(": ") {
                Some(("loses", text)) => head.loses = text.into(),
                Some(("fates", text)) => head.fates = text.split('|').map(|f| f.trim().to_string()).collect(),
                Some(("strangers", n)) => head.strangers = n.parse().map_err(|e| format!("strangers: {e}"))?,
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
