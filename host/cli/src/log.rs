//! `eider log`: append-only logs of engines, kept in a folder that any web server can hand out.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use clap::Subcommand;
use eider_engines::{
    BUNDLE_MAX, Bundle, Checkpoint, Entry, EntryError, Log, LogError, LogPolicy, NOTE_MAX, Note, POLICY_MAX, Proof,
    ProofError, Role, Tree, Unwitnessed, Verifier, newest,
};

use crate::keyfile;
use crate::words::word;

#[derive(Subcommand)]
pub(crate) enum LogCommand {
    /// Begin a log in a folder. It is named as its key is.
    Create {
        /// The folder.
        log: PathBuf,
        /// The log's key: `eider engine keygen log NAME FILE`.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Write what bundles publish or take back into a log, and the proof of it into the bundles.
    Append {
        /// The log's folder.
        log: PathBuf,
        /// The log's key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Whose entries are taken: NAME+ID+KEY as `keygen` prints it; as often as there are owners.
        #[arg(long = "publisher", value_name = "KEY", required = true)]
        publishers: Vec<String>,
        /// Whose rebuilds are taken; as often as there are rebuilders.
        #[arg(long = "rebuilder", value_name = "KEY")]
        rebuilders: Vec<String>,
        /// Bundles of `eider engine pack`.
        #[arg(required = true)]
        bundles: Vec<PathBuf>,
    },
    /// Cosign a log's newest tree as a witness, if what this witness cosigned before is its beginning, and print the cosignature.
    Witness {
        /// The log's folder, or a copy of it.
        log: PathBuf,
        /// The log's public key.
        #[arg(long = "log", value_name = "KEY")]
        of: String,
        /// The witness's own key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Where the witness keeps what it cosigned last.
        #[arg(long, value_name = "FILE")]
        state: PathBuf,
        /// This witness has never cosigned this log: there is nothing in `state` yet.
        #[arg(long)]
        first: bool,
    },
    /// Take a witness's cosignature over into the log.
    Cosign {
        /// The log's folder.
        log: PathBuf,
        /// The log's key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The witness's public key.
        #[arg(long, value_name = "KEY")]
        witness: String,
        /// What `eider log witness` printed.
        cosignature: PathBuf,
    },
    /// Renew the proofs in bundles: with the cosignatures that the log's newest tree has, which must suffice.
    Prove {
        /// The log's folder, or a copy of it.
        log: PathBuf,
        /// Which log it is, and which witnesses must have cosigned: c2sp.org/tlog-policy.
        #[arg(long, value_name = "FILE")]
        log_policy: PathBuf,
        /// Bundles whose entries the log has.
        #[arg(required = true)]
        bundles: Vec<PathBuf>,
    },
    /// List what a log says, each entry checked against its tree: for whoever wants to know what is published in their name.
    Monitor {
        /// The log's folder, or a copy of it.
        log: PathBuf,
        /// Which log it is, and which witnesses must have cosigned: c2sp.org/tlog-policy.
        #[arg(long, value_name = "FILE")]
        log_policy: PathBuf,
        /// Where to keep the tree that was seen. The next time, the log must go on from it, and what is new is listed.
        #[arg(long, value_name = "FILE")]
        state: Option<PathBuf>,
        /// Engines of this owner alone, OWNER/NAME and OWNER/…/NAME.
        #[arg(long)]
        owner: Option<String>,
        /// Keys that owners are known by; entries of theirs that are signed by another are marked.
        #[arg(long = "publisher", value_name = "KEY")]
        publishers: Vec<String>,
    },
}

pub(crate) fn log(command: LogCommand) -> Result<ExitCode> {
    let done = match command {
        LogCommand::Create { log, key } => create(&log, &key),
        LogCommand::Append { log, key, publishers, rebuilders, bundles } => {
            append(&log, &key, &[publishers, rebuilders].concat(), &bundles)
        }
        LogCommand::Witness { log, of, key, state, first } => witness(&log, &of, &key, &state, first),
        LogCommand::Cosign { log, key, witness, cosignature } => cosign(&log, &key, &witness, &cosignature),
        LogCommand::Prove { log, log_policy, bundles } => prove(&log, &log_policy, &bundles),
        LogCommand::Monitor { log, log_policy, state, owner, publishers } => {
            monitor(&log, &log_policy, state.as_deref(), owner.as_deref(), &publishers)
        }
    };
    match done {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(e) if does_not_hold(&e) => {
            eprintln!("eider: {}", word(format_args!("{e:#}")));
            Ok(ExitCode::FAILURE)
        }
        Err(e) => Err(e),
    }
}

/// Whether something was looked at and is not as it should be, unlike what could not be looked at.
fn does_not_hold(e: &anyhow::Error) -> bool {
    e.chain().any(|cause| {
        let of_log = matches!(cause.downcast_ref(), Some(LogError::Changed(_) | LogError::Proof(_)));
        of_log
            || cause.is::<ProofError>()
            || cause.is::<EntryError>()
            || cause.is::<Unwitnessed>()
            || cause.is::<Refused>()
    })
}

/// A claim that does not hold.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

fn open(path: &Path) -> Result<Dir> {
    Dir::open_ambient_dir(path, ambient_authority()).with_context(|| format!("{}", path.display()))
}

fn create(path: &Path, key: &Path) -> Result<()> {
    // Others are to read it.
    fs::create_dir_all(path).with_context(|| format!("{}", path.display()))?;
    let log = Log::create(open(path)?, keyfile::load(key, Role::Log)?)?;
    println!("{}", log.checkpoint().origin());
    Ok(())
}

fn bundle(path: &Path) -> Result<Bundle> {
    Bundle::parse(&keyfile::read(path, BUNDLE_MAX)?).with_context(|| format!("{}", path.display()))
}

/// Where these entries stand in a tree, after one walk over all of it; `see` hears of each entry.
fn places(
    tree: &Tree<'_, Dir>,
    wanted: &[Vec<u8>],
    mut see: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<HashMap<Vec<u8>, u64>> {
    let mut places = HashMap::new();
    tree.each(0, |n, entry| {
        if wanted.iter().any(|w| w == entry) {
            places.entry(entry.to_vec()).or_insert(n);
        }
        see(n, entry)
    })?;
    Ok(places)
}

/// All entries of bundles.
fn entries(bundles: &mut [(&PathBuf, Bundle)]) -> Vec<Vec<u8>> {
    bundles
        .iter_mut()
        .flat_map(|(_, b)| b.entries_mut().map(|one| one.entry.clone().into_bytes()).collect::<Vec<_>>())
        .collect()
}

fn append(path: &Path, key: &Path, whose: &[String], paths: &[PathBuf]) -> Result<()> {
    let whose = keyfile::verifiers(whose)?;
    let mut log = Log::open(open(path)?, keyfile::load(key, Role::Log)?)?;
    let mut bundles = paths.iter().map(|path| Ok((path, bundle(path)?))).collect::<Result<Vec<_>>>()?;
    for (path, bundle) in &mut bundles {
        for one in bundle.entries_mut() {
            let (entry, _) = Entry::read(one.entry.as_bytes())?;
            let owner = entry.about().0.owner();
            let is_rebuild = matches!(entry, Entry::Rebuild { .. });
            let may = |key: &&Verifier| if is_rebuild { key.role() == Role::Rebuilder } else { key.name() == owner };
            let mut tried = whose.iter().filter(may).map(|key| Entry::open(one.entry.as_bytes(), key).map(|_| ()));
            let missing =
                || if is_rebuild { "there is no --rebuilder".into() } else { format!("no --publisher is {owner}") };
            let first = tried.next().with_context(missing)?;
            tried.fold(first, |held, next| held.or(next)).with_context(|| format!("{}", path.display()))?;
            if let Some(proof) = &one.proof {
                let proof = Proof::parse(proof.as_bytes())?;
                let its = proof.checkpoint.origin();
                ensure!(its == log.checkpoint().origin(), "{} is in the log {} already", path.display(), word(its));
            }
        }
    }
    let wanted = entries(&mut bundles);
    let mut versions: HashMap<_, u64> = HashMap::new();
    let mut there = places(&log.tree(), &wanted, |n, bytes| {
        if let Ok((Entry::Publish { name, version, .. }, _)) = Entry::read(bytes) {
            versions.entry((name, version)).or_insert(n);
        }
        Ok(())
    })?;
    for (path, bundle) in &mut bundles {
        for one in bundle.entries_mut() {
            let bytes = one.entry.clone().into_bytes();
            let (entry, _) = Entry::read(&bytes)?;
            if !there.contains_key(&bytes) {
                if let Entry::Publish { name, version, .. } = &entry {
                    let earlier = versions.get(&(name.clone(), version.clone()));
                    if let Some(n) = earlier {
                        bail!(
                            "entry {n} publishes {name} {version} already, as other bytes or with another manifest: a version is \
                             never published twice"
                        );
                    }
                    versions.insert((name.clone(), version.clone()), log.checkpoint().size());
                }
                let n = log.append(std::slice::from_ref(&bytes))?.start;
                there.insert(bytes.clone(), n);
            }
            let n = there[&bytes];
            if one.proof.is_none() {
                one.proof = Some(log.tree().prove(n)?.to_string());
            }
            println!("{n} {}", word(about(&entry)));
        }
        keyfile::replace(path, &bundle.checked_bytes()?)?;
    }
    Ok(())
}

fn about(entry: &Entry) -> String {
    let (name, version) = entry.about();
    match entry {
        Entry::Publish { blake3, .. } => format!("publish {blake3} {name} {version}"),
        Entry::Rebuild { blake3, .. } => format!("rebuild {blake3} {name} {version}"),
        Entry::Yank { blake3, reason, .. } => format!("yank {blake3} {name} {version}: {reason}"),
    }
}

/// Checks that a tree goes on from what was seen before, which is kept in a file.
fn goes_on(dir: &Dir, newest: &Checkpoint, before: &Checkpoint, state: &Path) -> Result<()> {
    if newest.origin() != before.origin() {
        bail!("{} is of the log {}, and not of {}", state.display(), word(before.origin()), word(newest.origin()));
    }
    if newest.size() < before.size() {
        let why = format!(
            "the log has {} entries, and had {}: it was cut, or this is an old copy",
            newest.size(),
            before.size()
        );
        return Err(Refused(why).into());
    }
    let path = Tree::new(dir, newest).prove_beginning(before.size())?;
    newest.extends(before, &path).with_context(|| {
        format!(
            "{} and the log as it is now are proof that it shows different people different things: keep both",
            state.display()
        )
    })
}

/// What was seen before, if there is such a file.
fn seen(state: &Path) -> Result<Option<Checkpoint>> {
    match keyfile::read(state, NOTE_MAX) {
        Ok(bytes) => Ok(Some(Checkpoint::parse(&bytes).with_context(|| format!("{}", state.display()))?)),
        Err(e) if e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::NotFound) => Ok(None),
        Err(e) => Err(e),
    }
}

fn witness(path: &Path, of: &str, key: &Path, state: &Path, first: bool) -> Result<()> {
    let (of, key) = (keyfile::verifier(of)?, keyfile::load(key, Role::Witness)?);
    // Two at once could be shown two trees, and each find that it follows from the last.
    let _alone = keyfile::alone(state)?;
    let dir = open(path)?;
    let newest = newest(&dir)?;
    newest.check(&of)?;
    match seen(state)? {
        Some(_) if first => bail!("{} is there: this witness has cosigned before", state.display()),
        Some(before) => {
            before.check(&of)?;
            goes_on(&dir, &newest, &before, state).context("NOT cosigned")?;
        }
        None if first => {}
        None => bail!(
            "{} is missing: without it this witness cannot know what it cosigned last (--first if it never did)",
            state.display()
        ),
    }
    // Who else has signed is none of this witness's business.
    let mut note = Note::new(newest.note().text())?;
    note.merge(newest.note(), &of)?;
    note.sign(&key, SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    // Kept before anybody sees it.
    keyfile::replace(state, note.to_string().as_bytes())?;
    print!("{}", note.lines_of(key.verifier()));
    Ok(())
}

fn cosign(path: &Path, key: &Path, witness: &str, cosignature: &Path) -> Result<()> {
    let witness = keyfile::verifier(witness)?;
    let mut log = Log::open(open(path)?, keyfile::load(key, Role::Log)?)?;
    let lines = keyfile::read(cosignature, NOTE_MAX)?;
    let whole = [log.checkpoint().note().text().as_bytes(), b"\n", &lines].concat();
    let note = Note::parse(&whole).with_context(|| format!("{}", cosignature.display()))?;
    let cosigned = log.cosigned(&note, &witness).context("of the newest tree, perhaps of an older one");
    ensure!(cosigned?, "{} has not signed that", word(witness.name()));
    Ok(())
}

/// The log's newest tree, as a policy wants it, and who has cosigned it.
fn witnessed(dir: &Dir, policy: &Path) -> Result<(Checkpoint, String)> {
    let policy: LogPolicy =
        keyfile::text(policy, POLICY_MAX)?.parse().with_context(|| format!("{}", policy.display()))?;
    let newest = newest(dir)?;
    let witnessed = policy.check(&newest)?.to_string();
    Ok((newest, witnessed))
}

fn prove(path: &Path, policy: &Path, paths: &[PathBuf]) -> Result<()> {
    let dir = open(path)?;
    let (newest, _) = witnessed(&dir, policy)?;
    let tree = Tree::new(&dir, &newest);
    let mut bundles = paths.iter().map(|path| Ok((path, bundle(path)?))).collect::<Result<Vec<_>>>()?;
    let there = places(&tree, &entries(&mut bundles), |_, _| Ok(()))?;
    for (path, bundle) in &mut bundles {
        for one in bundle.entries_mut() {
            let n = there.get(one.entry.as_bytes());
            let n = n.with_context(|| format!("the log's newest tree has not all entries of {}", path.display()))?;
            one.proof = Some(tree.prove(*n)?.to_string());
        }
        keyfile::replace(path, &bundle.checked_bytes()?)?;
    }
    Ok(())
}

fn monitor(path: &Path, policy: &Path, state: Option<&Path>, owner: Option<&str>, publishers: &[String]) -> Result<()> {
    let publishers: Vec<Verifier> = keyfile::verifiers(publishers)?;
    let _alone = state.map(keyfile::alone).transpose()?;
    let dir = open(path)?;
    let (newest, witnessed) = witnessed(&dir, policy)?;
    let before = state.map(seen).transpose()?.flatten();
    if let (Some(before), Some(state)) = (&before, state) {
        goes_on(&dir, &newest, before, state)?;
    }
    let from = before.map_or(0, |before| before.size());
    let mut versions = BTreeMap::new();
    Tree::new(&dir, &newest).each(from, |n, bytes| {
        // It may be of a later version, and about anybody.
        let (entry, _) = match Entry::read(bytes) {
            Ok(entry) => entry,
            Err(e) => {
                println!("{n} UNREAD {}", word(e));
                return Ok::<_, LogError>(());
            }
        };
        let of = entry.about().0.owner();
        if owner.is_some_and(|owner| of != owner && !of.starts_with(&format!("{owner}/"))) {
            return Ok(());
        }
        let mut keys = publishers.iter().filter(|key| key.name() == of);
        // Whose word a rebuild is, its reader's policy says.
        let known = keys.clone().next().is_some() && !matches!(entry, Entry::Rebuild { .. });
        let is_its = keys.any(|key| Entry::open(bytes, key).is_ok());
        let mark = if known && !is_its { " NOT SIGNED by a --publisher of that name" } else { "" };
        let twice = match &entry {
            Entry::Publish { name, version, .. } => versions.insert((name.clone(), version.clone()), n),
            Entry::Rebuild { .. } | Entry::Yank { .. } => None,
        };
        let twice = twice.map_or_else(String::new, |n| format!(" AGAIN: entry {n} publishes that version too"));
        println!("{n} {}{mark}{twice}", word(about(&entry)));
        Ok(())
    })?;
    if let Some(state) = state {
        keyfile::replace(state, newest.note().to_string().as_bytes())?;
    }
    eprintln!("{} of {} entries read, {}", newest.size() - from, newest.size(), word(witnessed));
    if publishers.is_empty() {
        eprintln!("without --publisher nobody has looked by whom they are signed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_is_told_from_what_could_not_be_tried() {
        assert!(does_not_hold(&anyhow::Error::from(Refused("it was cut".into())).context("NOT cosigned")));
        assert!(does_not_hold(&LogError::Changed("a tile".into()).into()));
        assert!(!does_not_hold(&LogError::InUse.into()));
    }
}
