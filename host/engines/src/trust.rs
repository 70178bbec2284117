//! `policies/engines.toml`: which builds a node takes. Any rule admits, and within one everything must hold; nothing else is admitted.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use eider_protocol::{Hash, printable};
use semver::VersionReq;
use serde::Deserialize;

use crate::bundle::{Bundle, Look, Step, Trust};
use crate::checkpoint::Proof;
use crate::entry::Entry;
use crate::key::{Role, Verifier};
use crate::manifest::{Digests, EngineName, Manifest, Touches};
use crate::witnessed::LogPolicy;

/// Most rules.
const RULES_MAX: usize = 256;
/// Most entries of a list.
const LIST_MAX: usize = 1024;
/// Bytes of a page of linear memory.
const PAGE: u64 = 64 << 10;

/// Why a text is no policy.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum EnginePolicyError {
    /// Its form, with line and column.
    #[error("{0}")]
    Form(String),
    /// A rule that cannot be meant; counted from 1.
    #[error("rule {0}: {1}")]
    Rule(usize, String),
}

/// What becomes of running jobs when an engine is taken back, or not admitted any more for another reason. New ones are refused in any
/// case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Yanked {
    /// They are ended too.
    #[default]
    Refuse,
    /// They go on to their end.
    FinishRunning,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "rule")]
    rules: Vec<RuleText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    about: String,
    #[serde(default)]
    blake3: Vec<String>,
    #[serde(default)]
    publishers: Vec<String>,
    #[serde(default)]
    names: Vec<String>,
    versions: Option<VersionReq>,
    log: Option<String>,
    #[serde(default, with = "humantime_serde")]
    checkpoint_age: Option<Duration>,
    grant: Option<Vec<String>>,
    memory: Option<bytesize::ByteSize>,
    rebuilds: Option<usize>,
    #[serde(default)]
    rebuilders: Vec<String>,
    #[serde(default)]
    yanked: Yanked,
}

/// A name, or all names of an owner.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Names {
    One(EngineName),
    Of(String),
}

impl Names {
    fn parse(text: &str) -> Result<Self, String> {
        match text.strip_suffix("/*") {
            // An owner is what stands before the last part of some name.
            Some(owner) => match format!("{owner}/x").parse::<EngineName>() {
                Ok(_) => Ok(Self::Of(owner.into())),
                Err(e) => Err(e.to_string()),
            },
            None => text.parse().map(Self::One).map_err(|e| e.to_string()),
        }
    }

    fn has(&self, name: &EngineName) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Of(owner) => name.owner() == owner,
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(name) => name.fmt(f),
            Self::Of(owner) => write!(f, "{owner}/*"),
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
struct Rule {
    about: String,
    blake3: Vec<Hash>,
    trust: Trust,
    names: Vec<Names>,
    versions: Option<VersionReq>,
    checkpoint_age: Option<Duration>,
    grant: Option<Vec<String>>,
    memory: Option<u64>,
    /// How many operators must have built it, and their keys.
    rebuilds: usize,
    rebuilders: Vec<Verifier>,
    yanked: Yanked,
}

/// Which builds are run.
#[derive(Clone, PartialEq, Debug)]
pub struct EnginePolicy {
    rules: Vec<Rule>,
}

/// A build of which it is asked whether it is run.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// BLAKE3 of the component.
    pub hash: Hash,
    /// What is published of it, if that is there.
    pub bundle: Option<&'a Bundle>,
    /// Its bytes, if they are there, and what is found in them.
    pub component: Option<(&'a Digests, &'a Look<'a>)>,
    /// Yanks that are known of it beside its bundle's. Those that nobody has signed whom a rule believes count for nothing.
    pub yanks: &'a [String],
    /// What an earlier build of this name asked for when it was admitted.
    pub before: Option<&'a Touches>,
    /// Seconds of Unix.
    pub now: u64,
}

impl Candidate<'_> {
    /// A build of which nothing is known but its hash.
    pub const fn of_bytes(hash: Hash) -> Self {
        Self { hash, bundle: None, component: None, yanks: &[], before: None, now: 0 }
    }
}

/// What a rule made of a build.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleVerdict {
    /// Which rule, counted from 1.
    pub rule: usize,
    /// Its own words.
    pub about: String,
    /// Whether the rule goes by who has published it, and not by its bytes alone.
    pub published: bool,
    /// What was looked at. Behind what does not hold nothing is looked at.
    pub steps: Vec<Step>,
    /// What becomes of running jobs when the build is taken back.
    pub yanked: Yanked,
}

impl RuleVerdict {
    /// Whether the rule admits the build.
    pub fn admits(&self) -> bool {
        self.steps.iter().all(|step| step.found.is_ok())
    }
}

impl fmt::Display for RuleVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.admits() { "admits it" } else { "does not admit it" };
        write!(f, "rule {} ({}) {word}", self.rule, self.about)?;
        self.steps.iter().try_for_each(|step| write!(f, "\n  {step}"))
    }
}

/// What a policy made of a build: all its rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judgement(pub Vec<RuleVerdict>);

impl Judgement {
    /// The first rule that admits it.
    pub fn admitted(&self) -> Option<&RuleVerdict> {
        self.0.iter().find(|rule| rule.admits())
    }

    /// Whether a rule admits it by who has published it: what a bundle says of it was looked at then.
    pub fn by_publisher(&self) -> bool {
        self.0.iter().any(|rule| rule.published && rule.admits())
    }

    /// Why no rule does, in a line: what the first thing was that did not hold in each.
    pub fn refusal(&self) -> String {
        let mut line = String::new();
        for rule in &self.0 {
            let Some((what, why)) = rule.steps.iter().find_map(|s| Some((s.what, s.found.as_ref().err()?))) else {
                continue;
            };
            let gap = if line.is_empty() { "" } else { "; " };
            let _ = write!(line, "{gap}rule {} ({}): {what}: {why}", rule.rule, rule.about);
        }
        if line.is_empty() { "the policy has no rule".into() } else { printable(&line, 400) }
    }
}

impl EnginePolicy {
    /// Largest policy file, bytes.
    pub const MAX: usize = 1 << 20;

    /// Reads a policy's file.
    ///
    /// # Errors
    /// [`EnginePolicyError`], of a file that cannot be read [`EnginePolicyError::Form`].
    pub fn read(path: &Path) -> Result<Self, EnginePolicyError> {
        let mut text = String::new();
        let read = |file: fs::File| file.take(Self::MAX as u64 + 1).read_to_string(&mut text);
        fs::File::open(path).and_then(read).map_err(|e| EnginePolicyError::Form(e.to_string()))?;
        Self::parse(&text)
    }

    /// Reads a policy's text.
    ///
    /// # Errors
    /// [`EnginePolicyError`].
    pub fn parse(text: &str) -> Result<Self, EnginePolicyError> {
        if text.len() > Self::MAX {
            return Err(EnginePolicyError::Form(format!("{} bytes; at most {} are read", text.len(), Self::MAX)));
        }
        let file: File = toml::from_str(text).map_err(|e| EnginePolicyError::Form(e.to_string()))?;
        if file.rules.len() > RULES_MAX {
            return Err(EnginePolicyError::Form(format!("{} rules; at most {RULES_MAX} are read", file.rules.len())));
        }
        let rule = |(n, text)| Rule::of(text).map_err(|why| EnginePolicyError::Rule(n + 1, printable(&why, 400)));
        let rules = file.rules.into_iter().enumerate().map(rule).collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// How many rules it has.
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    /// Whether some rule could admit, by who has published it, an engine of which only the hash is known: whether its bundle is worth having.
    pub fn would_fetch(&self, hash: &Hash) -> bool {
        let could = |rule: &Rule| rule.blake3.is_empty() || rule.blake3.contains(hash);
        self.rules.iter().any(|rule| !rule.trust.publishers.is_empty() && could(rule))
    }

    /// The yanks of a bundle that its publisher has signed, as some rule knows that one: one of each, with that signature alone.
    pub fn believed_yanks(&self, bundle: &Bundle) -> Vec<String> {
        let mut believed = vec![];
        for key in self.rules.iter().flat_map(|rule| &rule.trust.publishers) {
            let Ok(manifest) = Manifest::open(&bundle.manifest, key) else { continue };
            for yank in bundle.yanks.iter().filter(|yank| is_yank(&yank.entry, key, &manifest).is_some()) {
                let Ok((entry, note)) = Entry::read(yank.entry.as_bytes()) else { continue };
                let lines = note.lines_of(key);
                let alone = format!("{entry}\n{}\n", lines.lines().next().unwrap_or_default());
                if !believed.contains(&alone) {
                    believed.push(alone);
                }
            }
        }
        believed
    }

    /// What each rule makes of a build.
    pub fn judge(&self, build: &Candidate<'_>) -> Judgement {
        let judge = |(n, rule): (usize, &Rule)| RuleVerdict {
            rule: n + 1,
            about: rule.about.clone(),
            published: !rule.trust.publishers.is_empty(),
            steps: rule.judge(build),
            yanked: rule.yanked,
        };
        Judgement(self.rules.iter().enumerate().map(judge).collect())
    }
}

/// Why a publisher took a build back, if that is what it has signed here.
fn is_yank(entry: &str, publisher: &Verifier, manifest: &Manifest) -> Option<String> {
    match Entry::open(entry.as_bytes(), publisher) {
        Ok(Entry::Yank { name, version, blake3, reason })
            if (&name, &version, blake3) == (&manifest.name, &manifest.version, manifest.digests.blake3) =>
        {
            Some(reason)
        }
        _ => None,
    }
}

impl Rule {
    fn of(text: RuleText) -> Result<Self, String> {
        let lists = [&text.blake3, &text.publishers, &text.names].map(Vec::len);
        if lists.into_iter().chain(text.grant.iter().map(Vec::len)).any(|n| n > LIST_MAX) {
            return Err(format!("a list of more than {LIST_MAX}"));
        }
        let hash = |text: &String| text.parse::<Hash>().map_err(|e| format!("`blake3`: {e}"));
        let key = |text: &String| text.parse::<Verifier>().map_err(|e| format!("`publishers`: {e}"));
        let blake3 = text.blake3.iter().map(hash).collect::<Result<Vec<_>, _>>()?;
        let publishers = text.publishers.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        if let Some(other) = publishers.iter().find(|key| key.role() != Role::Publisher) {
            return Err(format!("`publishers`: {other} is the key of a {}", other.role()));
        }
        if blake3.is_empty() && publishers.is_empty() {
            return Err("it names neither `blake3` nor `publishers`, and would admit whatever anybody makes".into());
        }
        let log = text.log.as_ref().map(|log| log.parse::<LogPolicy>().map_err(|e| format!("`log`: {e}")));
        let log = log.transpose()?;
        let of_bundle = !text.names.is_empty() || text.versions.is_some() || log.is_some();
        if publishers.is_empty() && of_bundle {
            return Err("`names`, `versions` and `log` are of what is published: name its `publishers`".into());
        }
        match (&log, text.checkpoint_age) {
            (None, Some(_)) => return Err("`checkpoint_age` needs a `log`".into()),
            (Some(log), Some(_)) if log.needs_nobody() => {
                return Err("`checkpoint_age` goes by the time of cosignatures, and the quorum of `log` is none".into());
            }
            _ => {}
        }
        let key = |text: &String| text.parse::<Verifier>().map_err(|e| format!("`rebuilders`: {e}"));
        let rebuilders = text.rebuilders.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        if let Some(other) = rebuilders.iter().find(|key| key.role() != Role::Rebuilder) {
            return Err(format!("`rebuilders`: {other} is the key of a {}", other.role()));
        }
        let operators = rebuilders.iter().map(Verifier::name).collect::<BTreeSet<_>>().len();
        let rebuilds = match text.rebuilds {
            None if operators > 0 => return Err("`rebuilders`: say how many of them, by `rebuilds`".into()),
            Some(0) => return Err("`rebuilds` must be at least 1".into()),
            Some(n) if n > operators => {
                return Err(format!("`rebuilds` asks for {n} operators, and `rebuilders` are the keys of {operators}"));
            }
            Some(_) if publishers.is_empty() => {
                return Err("`rebuilds` are of what is published: name its `publishers`".into());
            }
            n => n.unwrap_or(0),
        };
        let names = text.names.iter().map(|name| Names::parse(name).map_err(|e| format!("`names`: {e}")));
        Ok(Self {
            about: printable(&text.about, 200),
            blake3,
            trust: Trust { publishers, log },
            names: names.collect::<Result<_, _>>()?,
            versions: text.versions,
            checkpoint_age: text.checkpoint_age,
            grant: text.grant,
            memory: text.memory.map(|m| m.as_u64()),
            rebuilds,
            rebuilders,
            yanked: text.yanked,
        })
    }

    fn judge(&self, build: &Candidate<'_>) -> Vec<Step> {
        let mut steps = vec![];
        if let Err((what, why)) = self.walk(build, &mut steps) {
            steps.push(Step { what, found: Err(why) });
        }
        steps
    }

    fn walk(&self, build: &Candidate<'_>, steps: &mut Vec<Step>) -> Result<(), (&'static str, String)> {
        let yes = |steps: &mut Vec<Step>, what, found| steps.push(Step { what, found: Ok(found) });
        if !self.blake3.is_empty() {
            if !self.blake3.contains(&build.hash) {
                return Err((
                    "bytes",
                    format!("{} is none of the {} that it names", build.hash.short(), self.blake3.len()),
                ));
            }
            yes(steps, "bytes", format!("blake3 {}", build.hash));
        }
        let mut touches = None;
        if !self.trust.publishers.is_empty() {
            let manifest = self.published(build, steps)?;
            touches = Some(manifest.build.touches);
        } else if let Some((_, look)) = build.component {
            touches = Some(look().map_err(|why| ("component", why))?);
        }
        let Some(touches) = touches else { return Ok(()) };
        if let Some(grant) = &self.grant {
            if let Some(import) = touches.imports.iter().find(|import| !grant.contains(import)) {
                return Err(("grant", format!("it imports {import}, which is not granted")));
            }
            yes(steps, "grant", format!("{} imports, all granted", touches.imports.len()));
        }
        if let Some(most) = self.memory {
            let wanted = total(&touches.memories).0.saturating_mul(PAGE);
            if wanted > most {
                return Err(("memory", format!("it wants {wanted} bytes at its start, {most} are granted")));
            }
            yes(steps, "memory", format!("{wanted} bytes at its start, {most} are granted"));
        }
        if let Some(before) = build.before {
            if let Some(more) = before.grown(&touches) {
                let why = format!(
                    "it asks for more than any build of this name that was admitted here before: {more}; if that is meant, \
                     `eider engine approve BUNDLE` lets it"
                );
                return Err(("ratchet", why));
            }
            yes(steps, "ratchet", "it asks for no more than was admitted before".into());
        }
        Ok(())
    }

    /// What is asked of what is published.
    fn published(&self, build: &Candidate<'_>, steps: &mut Vec<Step>) -> Result<Manifest, (&'static str, String)> {
        let yes = |steps: &mut Vec<Step>, what, found| steps.push(Step { what, found: Ok(found) });
        let bundle = build.bundle.ok_or(("published", "nothing that is published is known of it".to_string()))?;
        let found = bundle.verify(&self.trust, build.component);
        let refused = found.iter().find_map(|step| Some((step.what, step.found.clone().err()?)));
        steps.extend(found.into_iter().filter(|step| step.found.is_ok()));
        if let Some(refused) = refused {
            return Err(refused);
        }
        let manifest = Manifest::read(&bundle.manifest).map_err(|e| ("manifest", e.to_string()))?;
        let (name, version) = (&manifest.name, &manifest.version);
        if manifest.digests.blake3 != build.hash {
            return Err(("bytes", format!("{name} {version} is {}, not {}", manifest.digests.blake3, build.hash)));
        }
        let taken_back = |yank: &String| self.trust.publishers.iter().find_map(|key| is_yank(yank, key, &manifest));
        if let Some(reason) = build.yanks.iter().find_map(taken_back) {
            return Err(("yank", format!("its publisher took it back: {reason}")));
        }
        if !self.names.is_empty() {
            let one = self.names.iter().find(|names| names.has(name));
            let one =
                one.ok_or_else(|| ("name", format!("{name} is none of the {} that it names", self.names.len())))?;
            yes(steps, "name", format!("{name} is of {one}"));
        }
        if let Some(versions) = &self.versions {
            if !versions.matches(version) {
                return Err(("version", format!("{version} is not {versions}")));
            }
            yes(steps, "version", format!("{version} is {versions}"));
        }
        if self.rebuilds > 0 {
            let by = bundle.rebuilt_by(&self.rebuilders, self.trust.log.as_ref());
            let names = by.iter().copied().collect::<Vec<_>>().join(", ");
            if by.len() < self.rebuilds {
                let who = if by.is_empty() { "nobody".into() } else { names };
                return Err((
                    "rebuilds",
                    format!("built by {who} of those that are trusted; {} are asked for", self.rebuilds),
                ));
            }
            yes(steps, "rebuilds", format!("built by {names}, {} are asked for", self.rebuilds));
        }
        if let (Some(log), Some(age)) = (&self.trust.log, self.checkpoint_age) {
            let proof = bundle.published.proof.as_deref().unwrap_or_default();
            let proof = Proof::parse(proof.as_bytes()).map_err(|e| ("age", e.to_string()))?;
            // Read by the second, and so is it told.
            let shown = humantime::format_duration(Duration::from_secs(age.as_secs()));
            let since = build.now.saturating_sub(age.as_secs());
            let witnessed = log.check_since(&proof.checkpoint, since).map_err(|_| {
                let how = format!("too few witnesses have cosigned its checkpoint within the last {shown}");
                ("age", format!("{how}; `eider log prove` makes its proof anew"))
            })?;
            // A clock that runs ahead makes nothing younger.
            let early = witnessed.witnesses.iter().find(|(_, at)| *at > build.now.saturating_add(SKEW_S));
            if let Some((name, _)) = early {
                return Err(("age", format!("{} has cosigned in the future", printable(name, 60))));
            }
            yes(steps, "age", format!("cosigned within the last {shown}"));
        }
        Ok(manifest)
    }
}

/// By so much two clocks may differ, seconds.
const SKEW_S: u64 = 300;

/// Of all memories or tables: initial, and maximum if each has one.
fn total(sizes: &[(u64, Option<u64>)]) -> (u64, Option<u64>) {
    let initial = sizes.iter().map(|(initial, _)| *initial).fold(0, u64::saturating_add);
    (initial, sizes.iter().try_fold(0u64, |sum, (_, most)| sum.checked_add((*most)?)))
}

impl Touches {
    /// What `later` asks for that this does not, if it does: imports, memory or tables.
    pub fn grown(&self, later: &Touches) -> Option<String> {
        let more = later.imports.iter().filter(|import| !self.imports.contains(import));
        let mut grown: Vec<String> = more.map(|import| format!("imports {import}")).collect();
        let lists = [
            ("memory", "pages of 64 KiB", &self.memories, &later.memories),
            ("tables", "entries", &self.tables, &later.tables),
        ];
        for (what, unit, own, its) in lists {
            let (own, its) = (total(own), total(its));
            if its.0 > own.0 {
                grown.push(format!("{what} of {} {unit} at its start, where it was {}", its.0, own.0));
            }
            match (own.1, its.1) {
                (Some(own), Some(its)) if its > own => {
                    grown.push(format!("{what} of up to {its} {unit}, where it was {own}"))
                }
                (Some(own), None) => grown.push(format!("{what} without a maximum, where it was {own} {unit}")),
                _ => {}
            }
        }
        if grown.is_empty() { None } else { Some(grown.join("; ")) }
    }

    /// What either asks for.
    #[must_use]
    pub fn with(mut self, other: &Touches) -> Self {
        for import in &other.imports {
            if !self.imports.contains(import) {
                self.imports.push(import.clone());
            }
        }
        for (own, its) in [(&mut self.memories, &other.memories), (&mut self.tables, &other.tables)] {
            let (a, b) = (total(own), total(its));
            *own = vec![(a.0.max(b.0), a.1.zip(b.1).map(|(a, b)| a.max(b)))];
        }
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Logged;
    use crate::bundle::tests::{AT, published, witnesses};
    use crate::key::Signer;
    use crate::manifest::tests::{example, publisher};

    /// A policy of one rule with these lines beside its publisher's key.
    fn with(lines: &str) -> Result<EnginePolicy, EnginePolicyError> {
        let key = publisher("someone").verifier().to_string();
        EnginePolicy::parse(&format!("[[rule]]\nabout = \"test\"\npublishers = [{key:?}]\n{lines}\n"))
    }

    fn leaked<T>(value: T) -> &'static T {
        Box::leak(Box::new(value))
    }

    fn its_touches() -> Result<Touches, String> {
        Ok(example().build.touches)
    }

    fn refusal(policy: &EnginePolicy, change: impl FnOnce(&mut Candidate<'static>)) -> Option<&'static str> {
        let (bundle, digests) = (leaked(published().0), leaked(Digests::of(b"component")));
        let component = Some((digests, &its_touches as &Look<'_>));
        let mut build =
            Candidate { hash: digests.blake3, bundle: Some(bundle), component, yanks: &[], before: None, now: AT };
        change(&mut build);
        let judged = policy.judge(&build);
        let what = judged.0[0].steps.iter().find_map(|s| s.found.is_err().then_some(s.what));
        assert_eq!(judged.admitted().is_some(), what.is_none());
        assert!(what.is_none() || judged.refusal().starts_with("rule 1 (test): "), "{}", judged.refusal());
        what
    }

    #[test]
    fn each_field_admits_what_it_says_and_refuses_the_rest() {
        let log = format!("log = \"\"\"{}\"\"\"", witnesses());
        let aged = |age: &str| format!("{log}\ncheckpoint_age = {age:?}");
        let all = example().build.touches.imports;
        let here = Digests::of(b"component").blake3;
        for (lines, refused) in [
            (String::new(), None),
            ("names = [\"someone/duckdb-fts\"]".into(), None),
            ("names = [\"other/x\", \"someone/*\"]".into(), None),
            ("names = [\"someone/else\"]".into(), Some("name")),
            ("versions = \">=1.2, <2\"".into(), None),
            ("versions = \">=1.3\"".into(), Some("version")),
            (log.clone(), None),
            (log.replace("quorum both", "witness c c.example+11111111+BA\nquorum c"), Some("form")),
            (aged("1h"), None),
            (format!("grant = {all:?}"), None),
            ("grant = []".into(), Some("grant")),
            ("memory = \"1GiB\"".into(), None),
            ("memory = \"1KiB\"".into(), Some("memory")),
            (format!("blake3 = [\"{here}\"]"), None),
            (format!("blake3 = [\"{}\"]", Hash::from_bytes([1; 32])), Some("bytes")),
        ] {
            match with(&lines) {
                Ok(policy) => assert_eq!(refusal(&policy, |_| {}), refused, "{lines}"),
                Err(e) => assert_eq!(refused, Some("form"), "{lines}: {e}"),
            }
        }
        let aged = with(&aged("1h")).unwrap();
        assert_eq!(refusal(&aged, |b| b.now = AT + 3_600), None);
        assert_eq!(refusal(&aged, |b| b.now = AT + 3_601), Some("age"));
        assert_eq!(refusal(&aged, |b| b.now = AT - SKEW_S), None);
        assert_eq!(refusal(&aged, |b| b.now = AT - SKEW_S - 1), Some("age"));
    }

    #[test]
    fn what_is_not_there_or_other_or_more_than_before_is_refused() {
        let policy = with("").unwrap();
        assert_eq!(refusal(&policy, |b| b.bundle = None), Some("published"));
        assert_eq!(refusal(&policy, |b| b.component = None), None, "its bytes are looked at when they are there");
        assert_eq!(refusal(&policy, |b| (b.hash, b.component) = (Hash::from_bytes([1; 32]), None)), Some("bytes"));
        let (other, same) = (leaked(Digests::of(b"other")), leaked(Digests::of(b"component")));
        assert_eq!(refusal(&policy, |b| b.component = Some((other, &its_touches))), Some("component"));
        assert_eq!(refusal(&policy, |b| b.component = Some((same, &|| Ok(Touches::default())))), Some("component"));
        assert_eq!(refusal(&policy, |b| b.before = Some(leaked(example().build.touches))), None);
        assert_eq!(refusal(&policy, |b| b.before = Some(leaked(Touches::default()))), Some("ratchet"));
        // A yank that is known counts whatever the bundle has; what its publisher has not signed does not.
        let (manifest, its, other_key) = (example(), publisher("someone"), publisher("other"));
        let (name, version, blake3) = (manifest.name, manifest.version, manifest.digests.blake3);
        let yank = Entry::Yank { name: name.clone(), version, blake3, reason: "wrong".into() };
        let known = |yanks: Vec<String>| refusal(&policy, |b| b.yanks = leaked(yanks));
        let mut forged = crate::Note::new(yank.to_string()).unwrap();
        forged.sign(&other_key, 0).unwrap();
        assert_eq!(known(vec!["rubbish".into(), forged.to_string()]), None);
        let signed = yank.sign(&its).unwrap().to_string();
        assert_eq!(known(vec!["rubbish".into(), signed.clone()]), Some("yank"));
        let other = Entry::Yank { name, version: semver::Version::new(9, 9, 9), blake3, reason: "wrong".into() };
        assert_eq!(known(vec![other.sign(&its).unwrap().to_string()]), None, "of another version");
        let (mut bundle, _) = published();
        // However many variants of it there are by what others add: it is one.
        let mut both = yank.sign(&its).unwrap();
        both.sign(&other_key, 0).unwrap();
        let entries = [both.to_string(), signed.clone(), forged.to_string()];
        bundle.yanks = entries.map(|entry| Logged { entry, proof: None }).to_vec();
        assert_eq!(policy.believed_yanks(&bundle), [signed]);
    }

    #[test]
    fn a_rule_by_bytes_needs_nothing_published() {
        let bytes = Digests::of(b"component");
        let text = format!("[[rule]]\nabout = \"own\"\nblake3 = [\"{}\"]\nmemory = \"1KiB\"\n", bytes.blake3);
        let policy = EnginePolicy::parse(&text).unwrap();
        let build = Candidate::of_bytes(bytes.blake3);
        assert!(policy.judge(&build).admitted().is_some());
        let other = Hash::from_bytes([1; 32]);
        assert!(policy.judge(&Candidate { hash: other, ..build }).admitted().is_none());
        // By its bytes alone, nothing is fetched.
        assert!(!policy.would_fetch(&bytes.blake3) && with("").unwrap().would_fetch(&other));
        let look = || Ok(example().build.touches);
        let judged = policy.judge(&Candidate { component: Some((&bytes, &look)), ..build });
        assert!(judged.refusal().contains("memory"), "{}", judged.refusal());
        assert_eq!(EnginePolicy::parse("").unwrap().judge(&build).refusal(), "the policy has no rule");
        // Any rule admits.
        let both =
            EnginePolicy::parse(&format!("[[rule]]\nabout = \"other\"\nblake3 = [\"{other}\"]\n{text}")).unwrap();
        assert_eq!(both.judge(&build).admitted().map(|r| r.rule), Some(2));
    }

    fn rebuilder(name: &str, seed: u8) -> Signer {
        Signer::new(name, Role::Rebuilder, [seed; 32]).unwrap()
    }

    #[test]
    fn rebuilds_count_by_operator_and_each_for_these_bytes() {
        let (a, again, b) = (rebuilder("a.example", 1), rebuilder("a.example", 2), rebuilder("b.example", 3));
        let keys = [&a, &again, &b].map(|key| key.verifier().to_string());
        let policy = with(&format!("rebuilds = 2\nrebuilders = {keys:?}")).unwrap();
        let by = |signers: &[&Signer], entry: &Entry| {
            let (mut bundle, _) = published();
            let signed = |signer: &&Signer| Logged { entry: entry.sign(signer).unwrap().to_string(), proof: None };
            bundle.rebuilds = signers.iter().map(signed).collect();
            refusal(&policy, |build| build.bundle = Some(leaked(bundle)))
        };
        let its = Entry::rebuild(&example());
        assert_eq!(by(&[], &its), Some("rebuilds"));
        assert_eq!(by(&[&a], &its), Some("rebuilds"));
        assert_eq!(by(&[&a, &again], &its), Some("rebuilds"), "two keys of one operator");
        assert_eq!(by(&[&a, &rebuilder("c.example", 4)], &its), Some("rebuilds"), "one whom nobody has named");
        assert_eq!(by(&[&a, &b], &its), None);
        let other = Manifest { digests: Digests::of(b"other"), ..example() };
        assert_eq!(by(&[&a, &b], &Entry::rebuild(&other)), Some("rebuilds"), "of other bytes");
        // Where a log is asked for, it must have their words, too.
        let logged = with(&format!("log = \"\"\"{}\"\"\"\nrebuilds = 2\nrebuilders = {keys:?}", witnesses())).unwrap();
        let (mut bundle, _) = published();
        bundle.rebuilds = [&a, &b].map(|s| Logged { entry: its.sign(s).unwrap().to_string(), proof: None }).to_vec();
        assert_eq!(refusal(&logged, |build| build.bundle = Some(leaked(bundle))), Some("rebuilds"));
        // One is needed where one is asked for.
        let one = with(&format!("rebuilds = 1\nrebuilders = {keys:?}")).unwrap();
        assert_eq!(refusal(&one, |_| {}), Some("rebuilds"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_rule() {
        let log = "log = \"log log.example+1a2b3c4d+AQ\"".to_string();
        for (lines, why) in [
            ("frobnicate = 1", "unknown field"),
            ("yanked = \"never\"", "unknown variant"),
            ("versions = \"one\"", "versions"),
            ("checkpoint_age = \"1h\"", "rule 1: `checkpoint_age` needs a `log`"),
            (&log, "rule 1: `log`: line 1"),
            ("names = [\"*\"]", "rule 1: `names`"),
            ("rebuilds = 1", "rule 1: `rebuilds` asks for 1 operators, and `rebuilders` are the keys of 0"),
            ("rebuilds = 0", "rule 1: `rebuilds` must be"),
            (&format!("rebuilders = [{:?}]", rebuilder("a", 1).verifier().to_string()), "say how many"),
            (
                &format!("rebuilds = 1\nrebuilders = [{:?}]", publisher("a").verifier().to_string()),
                "the key of a publisher",
            ),
            ("names = [\"UPPER/*\"]", "rule 1: `names`"),
            ("blake3 = [\"1\"]", "rule 1: `blake3`"),
        ] {
            let e = with(lines).unwrap_err().to_string();
            assert!(e.contains(why), "{lines}: {e}");
        }
        let refused = |text: &str| EnginePolicy::parse(text).unwrap_err().to_string();
        assert!(refused("[[rule]]\nabout = \"all\"\n").contains("whatever anybody makes"));
        let of_bytes =
            format!("[[rule]]\nabout = \"x\"\nblake3 = [\"{}\"]\nversions = \"1\"\n", Hash::from_bytes([1; 32]));
        assert!(refused(&of_bytes).contains("name its `publishers`"));
        assert!(refused(&"#".repeat(EnginePolicy::MAX + 1)).contains("at most"));
        let nobody = witnesses().replace("quorum both", "quorum none");
        let e = with(&format!("log = \"\"\"{nobody}\"\"\"\ncheckpoint_age = \"1h\"")).unwrap_err();
        assert!(e.to_string().contains("is none"), "{e}");
    }
}
