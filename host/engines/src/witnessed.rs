//! Which logs are believed, and which of their witnesses must have cosigned: c2sp.org/tlog-policy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use eider_protocol::printable;

use crate::checkpoint::{Checkpoint, ProofError};
use crate::key::{Role, Verifier};
use crate::note::NoteError;

/// Largest policy, bytes.
pub const POLICY_MAX: usize = 256 << 10;
/// Most lines that define something.
const LINES_MAX: usize = 512;
/// Groups inside each other.
const DEPTH_MAX: usize = 32;
/// Seconds of Unix until no calendar goes on.
const YEAR_9999: u64 = 253_370_764_800;
/// The quorum that needs nobody.
const NONE: &str = "none";

/// Why a text is no policy; the line is counted from 1.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("line {line} of the log policy: {why}")]
pub struct LogPolicyError {
    /// Which line; one past the last if something is missing.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

/// Why a checkpoint does not suffice.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum Unwitnessed {
    /// Its log, its signature, its form.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// No log of the policy.
    #[error("the log {0} is none of the policy's")]
    Log(String),
    /// Too few cosignatures.
    #[error("the checkpoint of {origin} lacks witnesses: {missing}")]
    Quorum {
        /// The log.
        origin: String,
        /// What is asked for, and what is there.
        missing: String,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Member {
    Witness(Verifier),
    Group { least: usize, members: Vec<String>, depth: usize },
}

/// A policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogPolicy {
    logs: Vec<Verifier>,
    names: BTreeMap<String, Member>,
    quorum: String,
}

/// Who stands behind a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Witnessed {
    /// The log.
    pub log: Verifier,
    /// Witnesses of the policy that have cosigned, by their name in it, and when, in seconds of Unix.
    pub witnesses: Vec<(String, u64)>,
}

impl LogPolicy {
    /// Whether a checkpoint is of one of the logs, and enough witnesses have seen it.
    ///
    /// # Errors
    /// [`Unwitnessed`].
    pub fn check(&self, checkpoint: &Checkpoint) -> Result<Witnessed, Unwitnessed> {
        self.check_since(checkpoint, 0)
    }

    /// As [`Self::check`], where only cosignatures of a time on count, in seconds of Unix.
    ///
    /// # Errors
    /// [`Unwitnessed`].
    pub fn check_since(&self, checkpoint: &Checkpoint, since: u64) -> Result<Witnessed, Unwitnessed> {
        let of_origin = || self.logs.iter().filter(|log| log.name() == checkpoint.origin());
        let mut last = Unwitnessed::Log(checkpoint.origin().to_string());
        let mut log = None;
        for one in of_origin() {
            match checkpoint.check(one) {
                Ok(()) => log = log.or(Some(one.clone())),
                Err(e @ ProofError::Note(NoteError::Signature(_))) => return Err(e.into()),
                Err(e) => last = e.into(),
            }
        }
        let log = log.ok_or(last)?;
        let mut witnesses = vec![];
        for (name, member) in &self.names {
            if let Member::Witness(key) = member
                && let Some(at) = checkpoint.note().signed_by(key).map_err(ProofError::from)?
            {
                witnesses.push((name.clone(), at));
            }
        }
        let seen: BTreeSet<&str> = witnesses.iter().filter(|(_, at)| *at >= since).map(|(name, _)| &name[..]).collect();
        if (self.quorum == NONE && since == 0) || self.holds(&self.quorum, &seen) {
            return Ok(Witnessed { log, witnesses });
        }
        let missing = format!("{}; cosigned by {}", self.wants(&self.quorum), listed(&seen));
        Err(Unwitnessed::Quorum { origin: checkpoint.origin().to_string(), missing })
    }

    /// Whether a log's own signature suffices.
    pub fn needs_nobody(&self) -> bool {
        self.quorum == NONE
    }

    fn holds(&self, name: &str, seen: &BTreeSet<&str>) -> bool {
        match self.names.get(name) {
            None => false,
            Some(Member::Witness(_)) => seen.contains(name),
            Some(Member::Group { least, members, .. }) => {
                members.iter().filter(|m| self.holds(m, seen)).count() >= *least
            }
        }
    }

    fn wants(&self, name: &str) -> String {
        match self.names.get(name) {
            Some(Member::Group { least, members, .. }) => {
                format!(
                    "{least} of {name} ({})",
                    members.iter().map(|m| printable(m, 60)).collect::<Vec<_>>().join(", ")
                )
            }
            _ => printable(name, 60),
        }
    }
}

fn listed(seen: &BTreeSet<&str>) -> String {
    if seen.is_empty() { "none of them".into() } else { seen.iter().copied().collect::<Vec<_>>().join(", ") }
}

impl FromStr for LogPolicy {
    type Err = LogPolicyError;

    fn from_str(text: &str) -> Result<Self, LogPolicyError> {
        let mut reader = Reader::default();
        if text.len() > POLICY_MAX {
            return Err(LogPolicyError {
                line: 1,
                why: format!("{} bytes; at most {POLICY_MAX} are read", text.len()),
            });
        }
        let mut count = 0;
        for (n, line) in text.split('\n').enumerate() {
            let bad = |why| LogPolicyError { line: n + 1, why };
            if line.bytes().any(|b| b != b'\t' && (b < b' ' || b == 0x7f)) {
                return Err(bad("a control character".into()));
            }
            let words: Vec<&str> = line.split([' ', '\t']).filter(|w| !w.is_empty()).collect();
            if words.first().is_none_or(|word| word.starts_with('#')) {
                continue;
            }
            count += 1;
            if count > LINES_MAX {
                return Err(bad(format!("more than {LINES_MAX} lines define something")));
            }
            reader.line(&words).map_err(bad)?;
        }
        let quorum = reader.quorum.ok_or_else(|| LogPolicyError {
            line: text.split('\n').count() + 1,
            why: "there is no `quorum` line; `quorum none` asks for no witness".into(),
        })?;
        Ok(Self { logs: reader.logs, names: reader.names, quorum })
    }
}

#[derive(Default)]
struct Reader {
    logs: Vec<Verifier>,
    names: BTreeMap<String, Member>,
    members: BTreeSet<String>,
    quorum: Option<String>,
}

impl Reader {
    fn line(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["log", key] | ["log", key, _] => {
                let key = Self::key(key, Role::Log)?;
                self.once(&key)?;
                self.logs.push(key);
            }
            ["witness", name, key] | ["witness", name, key, _] => {
                let key = Self::key(key, Role::Witness)?;
                self.once(&key)?;
                self.define(name, Member::Witness(key))?;
            }
            ["group", name, least, members @ ..] => self.group(name, least, members)?,
            ["quorum", name] => {
                if self.quorum.is_some() {
                    return Err("a second `quorum`".into());
                }
                if *name != NONE && !self.names.contains_key(*name) {
                    return Err(format!("{:?} is no witness or group of a line above", printable(name, 60)));
                }
                self.quorum = Some(name.to_string());
            }
            [word, ..] => {
                return Err(format!("{:?} with {} words is no line of a log policy", printable(word, 60), words.len()));
            }
            [] => {}
        }
        Ok(())
    }

    fn key(text: &str, role: Role) -> Result<Verifier, String> {
        let key: Verifier = text.parse().map_err(|e: crate::key::KeyError| e.to_string())?;
        if key.role() == role {
            Ok(key)
        } else {
            Err(format!("{} is the key of a {}, not of a {role}", key.name(), key.role()))
        }
    }

    /// One key is one log or one witness: whoever is both would vouch for itself.
    fn once(&self, key: &Verifier) -> Result<(), String> {
        let is_witness = |m: &Member| matches!(m, Member::Witness(w) if w.key() == key.key());
        if self.logs.iter().any(|log| log.key() == key.key()) || self.names.values().any(is_witness) {
            return Err(format!("the key of {} stands twice", key.name()));
        }
        Ok(())
    }

    fn define(&mut self, name: &str, member: Member) -> Result<(), String> {
        if name == NONE || self.names.insert(name.to_string(), member).is_some() {
            return Err(format!("{:?} is defined already", printable(name, 60)));
        }
        Ok(())
    }

    fn group(&mut self, name: &str, least: &str, members: &[&str]) -> Result<(), String> {
        let n = members.len();
        let least = match least {
            "any" => 1,
            "all" => n,
            k if k.starts_with(|c| ('1'..='9').contains(&c)) && k.bytes().all(|b| b.is_ascii_digit()) => {
                k.parse().unwrap_or(usize::MAX)
            }
            k => return Err(format!("{:?} is not `any`, `all` or a number", printable(k, 20))),
        };
        if !(1..=n).contains(&least) {
            return Err(format!("{least} of {n} can never be, or are none"));
        }
        let mut depth = 0;
        for member in members {
            let known = self
                .names
                .get(*member)
                .ok_or_else(|| format!("{:?} is no witness or group of a line above", printable(member, 60)))?;
            if let Member::Group { depth: inner, .. } = known {
                depth = depth.max(inner + 1);
            }
            if !self.members.insert(member.to_string()) {
                return Err(format!("{:?} is in a group already, and counts once", printable(member, 60)));
            }
        }
        if depth > DEPTH_MAX {
            return Err(format!("groups lie more than {DEPTH_MAX} deep in each other"));
        }
        self.define(name, Member::Group { least, members: members.iter().map(|m| m.to_string()).collect(), depth })
    }
}

impl fmt::Display for Witnessed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log {}", self.log.name())?;
        for (name, at) in &self.witnesses {
            let at = match at {
                0..YEAR_9999 => humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(*at)).to_string(),
                _ => "a time that never comes".into(),
            };
            write!(f, ", {} at {at}", printable(name, 60))?;
        }
        if self.witnesses.is_empty() { f.write_str(", no witness of the policy") } else { Ok(()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::checkpoint::TreeHash;
    use crate::key::Signer;

    fn signer(name: &str, role: Role) -> Signer {
        let mut seed = [0; 32];
        seed[..name.len()].copy_from_slice(name.as_bytes());
        Signer::new(name, role, seed).unwrap()
    }

    /// Two of three X, and any Y.
    fn example() -> String {
        let witness = |n: &str| format!("witness {n} {}\n", signer(n, Role::Witness).verifier());
        let mut text =
            format!("# a comment\n\tlog {} https://log.example/\n\n", signer("log.example", Role::Log).verifier());
        text += &["X1", "X2", "X3", "Y1", "Y2"].map(witness).concat();
        text + "group X 2 X1 X2 X3\ngroup Y any Y1 Y2\ngroup both all X Y\nquorum both\n"
    }

    fn cosigned(by: &[&str]) -> Checkpoint {
        let mut checkpoint = Checkpoint::new("log.example", 5, TreeHash([3; 32])).unwrap();
        checkpoint.note_mut().sign(&signer("log.example", Role::Log), 0).unwrap();
        for name in by {
            checkpoint.note_mut().sign(&signer(name, Role::Witness), 1_790_000_000).unwrap();
        }
        Checkpoint::parse(checkpoint.note().to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_nested_quorum_holds_when_each_of_its_groups_does() {
        let policy: LogPolicy = example().parse().unwrap();
        for (by, holds) in [
            (&["X1", "X3", "Y2"][..], true),
            (&["X1", "X2", "X3", "Y1", "Y2"], true),
            (&["X1", "Y1", "Y2"], false),
            (&["X1", "X2", "X3"], false),
            (&["X1", "X2", "Z1"], false),
            (&[], false),
        ] {
            let found = policy.check(&cosigned(by));
            assert_eq!(found.is_ok(), holds, "{by:?}: {found:?}");
        }
        let why = policy.check(&cosigned(&["X1"])).unwrap_err().to_string();
        assert!(why.contains("2 of both (X, Y); cosigned by X1"), "{why}");
    }

    #[test]
    fn one_is_needed_where_one_is_asked_for() {
        let text = example().replace("quorum both", "quorum Y");
        let policy: LogPolicy = text.parse().unwrap();
        assert!(policy.check(&cosigned(&[])).is_err());
        assert!(policy.check(&cosigned(&["X1", "X2", "X3"])).is_err());
        assert!(policy.check(&cosigned(&["Y1"])).is_ok());
        let nobody: LogPolicy = example().replace("quorum both", "quorum none").parse().unwrap();
        assert!(nobody.check(&cosigned(&[])).is_ok());
    }

    #[test]
    fn a_log_that_is_not_the_policys_or_has_not_signed_is_refused() {
        let policy: LogPolicy = example().parse().unwrap();
        let by = |name: &str, key: &Signer| {
            let mut checkpoint = Checkpoint::new(name, 5, TreeHash([3; 32])).unwrap();
            checkpoint.note_mut().sign(key, 0).unwrap();
            for name in ["X1", "X2", "Y1"] {
                checkpoint.note_mut().sign(&signer(name, Role::Witness), 1).unwrap();
            }
            policy.check(&checkpoint).unwrap_err()
        };
        let (own, other) = (signer("log.example", Role::Log), signer("other.example", Role::Log));
        assert!(matches!(by("other.example", &other), Unwitnessed::Log(_)));
        assert!(matches!(by("log.example", &other), Unwitnessed::Proof(ProofError::Unsigned { .. })));
        assert!(matches!(by("other.example", &own), Unwitnessed::Log(_)));
        // The key of a witness signs no checkpoint for a log, whatever its name.
        let witness = Signer::new("log.example", Role::Witness, [1; 32]).unwrap();
        assert!(matches!(by("log.example", &witness), Unwitnessed::Proof(ProofError::Unsigned { .. })));
    }

    #[test]
    fn lines_that_mean_nothing_or_too_much_are_refused_with_their_number() {
        let good = example();
        let log = signer("log.example", Role::Log).verifier().to_string();
        let x1 = signer("X1", Role::Witness).verifier().to_string();
        for (line, why) in [
            ("frobnicate", "no line of a log policy"),
            ("quorum both", "a second"),
            ("group X any Z9", "no witness or group"),
            ("group Z any X1", "in a group already"),
            ("group Z 2 both", "can never be"),
            ("group Z 0 both", "not `any`"),
            ("group Z +1 both", "not `any`"),
            ("group Z some both", "not `any`"),
            ("group Z any", "can never be"),
            ("group none any both", "defined already"),
            (&format!("log {log}"), "twice"),
            (&format!("log {x1}"), "the key of a witness"),
            (&format!("witness Z {log}"), "the key of a log"),
            (&format!("witness Z {x1}"), "twice"),
            (&format!("witness X1 {}", signer("Z", Role::Witness).verifier()), "defined already"),
            ("log a b c d", "no line"),
            ("\u{1}", "control"),
        ] {
            let found = format!("{good}{line}\n").parse::<LogPolicy>().unwrap_err();
            assert!(found.why.contains(why) && found.line == good.lines().count() + 1, "{line}: {found}");
        }
        let none = good.replace("quorum both\n", "").parse::<LogPolicy>().unwrap_err();
        assert!(none.why.contains("no `quorum`"), "{none}");
        assert!("quorum X\n".parse::<LogPolicy>().is_err());
    }
}
