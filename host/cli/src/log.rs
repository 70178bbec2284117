//! `eider log`: append-only logs of engines, kept in a folder that any web server can hand out.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use clap::Subcommand;
use eider_engines::{Bundle, Checkpoint, Entry, Log, Logged, NOTE_MAX, Role, Signer, Tree, Verifier, newest};
use eider_node::folder;

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
        publishers: Vec<Verifier>,
        /// Bundles of `eider engine pack`.
        #[arg(required = true)]
        bundles: Vec<PathBuf>,
    },
    /// Cosign a log's newest tree as a witness, if what this witness cosigned before is its beginning.
    Witness {
        /// The log's folder.
        log: PathBuf,
        /// The log's public key.
        #[arg(long = "log", value_name = "KEY")]
        of: Verifier,
        /// The witness's own key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Where the witness keeps what it cosigned last.
        #[arg(long, value_name = "FILE")]
        state: PathBuf,
        /// The log's key too, on the machine that keeps it: the cosignature is put into the log.
        #[arg(long, value_name = "FILE")]
        into: Option<PathBuf>,
    },
    /// Renew the proofs in bundles: with the cosignatures that the log's newest tree has.
    Prove {
        /// The log's folder.
        log: PathBuf,
        /// The log's public key.
        #[arg(long = "log", value_name = "KEY")]
        of: Verifier,
        /// Bundles whose entries the log has.
        #[arg(required = true)]
        bundles: Vec<PathBuf>,
    },
    /// List what a log says, after checking all of it; of one owner for whoever wants to know what is published in its name.
    Monitor {
        /// The log's folder.
        log: PathBuf,
        /// The log's public key.
        #[arg(long = "log", value_name = "KEY")]
        of: Verifier,
        /// Engines whose names begin with this alone.
        #[arg(long)]
        owner: Option<String>,
        /// From this entry on.
        #[arg(long, default_value_t = 0)]
        from: u64,
    },
}

pub(crate) fn log(command: LogCommand) -> Result<ExitCode> {
    match command {
        LogCommand::Create { log, key } => {
            let log = Log::create(folder(&log)?, keyfile::load(&key, Role::Log)?)?;
            println!("{}", log.checkpoint().origin());
        }
        LogCommand::Append { log, key, publishers, bundles } => {
            append(&log, keyfile::load(&key, Role::Log)?, &publishers, &bundles)?;
        }
        LogCommand::Witness { log, of, key, state, into } => {
            let into = into.map(|path| keyfile::load(&path, Role::Log)).transpose()?;
            witness(&log, &of, &keyfile::load(&key, Role::Witness)?, &state, into)?;
        }
        LogCommand::Prove { log, of, bundles } => prove(&log, &of, &bundles)?,
        LogCommand::Monitor { log, of, owner, from } => monitor(&log, &of, owner.as_deref(), from)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn open(path: &Path) -> Result<Dir> {
    Dir::open_ambient_dir(path, ambient_authority()).with_context(|| format!("{}", path.display()))
}

fn bundle(path: &Path) -> Result<Bundle> {
    let bytes = keyfile::read(path, eider_engines::BUNDLE_MAX)?;
    Bundle::parse(&bytes).with_context(|| format!("{}", path.display()))
}

/// The newest tree of a folder, which this log has signed.
fn checked(dir: &Dir, of: &Verifier) -> Result<Checkpoint> {
    let checkpoint = newest(dir)?;
    checkpoint.check(of)?;
    Ok(checkpoint)
}

/// All entries of a tree from `from` on, each with its number.
fn each(tree: &Tree<'_, Dir>, size: u64, from: u64, mut see: impl FnMut(u64, Vec<u8>) -> Result<()>) -> Result<()> {
    for tile in from / eider_engines::WIDTH..size.div_ceil(eider_engines::WIDTH) {
        let first = tile * eider_engines::WIDTH;
        for (n, entry) in (first..).zip(tree.entries(tile)?).filter(|(n, _)| *n >= from) {
            see(n, entry)?;
        }
    }
    Ok(())
}

fn append(path: &Path, key: Signer, publishers: &[Verifier], paths: &[PathBuf]) -> Result<()> {
    let mut log = Log::open(folder(path)?, key)?;
    for path in paths {
        let mut bundle = bundle(path)?;
        let mut logged: Vec<&mut Logged> = std::iter::once(&mut bundle.published).chain(&mut bundle.yanks).collect();
        for one in logged.iter_mut().filter(|one| one.proof.is_none()) {
            let (entry, _) = Entry::read(one.entry.as_bytes())?;
            let (name, version) = entry.about();
            let owner = publishers.iter().find(|key| key.name() == name.owner());
            let owner = owner.with_context(|| format!("no --publisher is {}, whose engine {name} is", name.owner()))?;
            Entry::open(one.entry.as_bytes(), owner)?;
            let mut there = None;
            each(&log.tree(), log.checkpoint().size(), 0, |n, bytes| {
                if bytes == one.entry.as_bytes() {
                    there = Some(n);
                    return Ok(());
                }
                let Ok((earlier, _)) = Entry::read(&bytes) else { return Ok(()) };
                let both = matches!((&earlier, &entry), (Entry::Publish { .. }, Entry::Publish { .. }));
                ensure!(
                    !both || earlier.about() != entry.about(),
                    "entry {n} publishes {name} {version} already, as other bytes or with another manifest: a version is never published twice"
                );
                Ok(())
            })?;
            let n = match there {
                Some(n) => n,
                None => log.append(&[one.entry.clone().into_bytes()])?.start,
            };
            one.proof = Some(log.tree().prove(n)?.to_string());
            println!("{n} {}", word(about(&entry)));
        }
        keyfile::replace(path, &bundle.to_bytes())?;
    }
    Ok(())
}

fn about(entry: &Entry) -> String {
    let (name, version) = entry.about();
    match entry {
        Entry::Publish { blake3, .. } => format!("publish {name} {version} {blake3}"),
        Entry::Yank { reason, .. } => format!("yank {name} {version}: {reason}"),
    }
}

fn witness(path: &Path, of: &Verifier, key: &Signer, state: &Path, into: Option<Signer>) -> Result<()> {
    let dir = open(path)?;
    let mut newest = checked(&dir, of)?;
    match keyfile::read(state, NOTE_MAX) {
        Ok(bytes) => {
            let before = Checkpoint::parse(&bytes)?;
            before.check(of).context("what this witness cosigned last is of another log")?;
            ensure!(
                before.size() <= newest.size(),
                "the log has {} entries, and had {} when this witness cosigned it: it was cut, or is not the newest copy",
                newest.size(),
                before.size()
            );
            let path = Tree::new(&dir, &newest).prove_beginning(before.size())?;
            if let Err(e) = newest.extends(&before, &path) {
                bail!("NOT cosigned: {e}; {} and the log's checkpoint are proof of it, keep both", state.display());
            }
        }
        Err(e) if e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::NotFound) => {}
        Err(e) => return Err(e),
    }
    let at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    newest.note_mut().sign(key, at);
    // Kept before anybody sees it.
    keyfile::replace(state, newest.note().to_string().as_bytes())?;
    if let Some(log_key) = into {
        let mut log = Log::open(dir, log_key)?;
        ensure!(log.cosigned(newest.note(), key.verifier())?, "the log has grown meanwhile: cosign it again");
    }
    print!("{}", newest.note());
    Ok(())
}

fn prove(path: &Path, of: &Verifier, paths: &[PathBuf]) -> Result<()> {
    let dir = open(path)?;
    let newest = checked(&dir, of)?;
    let tree = Tree::new(&dir, &newest);
    for path in paths {
        let mut bundle = bundle(path)?;
        let mut logged: Vec<&mut Logged> = std::iter::once(&mut bundle.published).chain(&mut bundle.yanks).collect();
        for one in &mut logged {
            let mut there = None;
            each(&tree, newest.size(), 0, |n, bytes| {
                if bytes == one.entry.as_bytes() {
                    there = Some(n);
                }
                Ok(())
            })?;
            let n = there.with_context(|| format!("the log has no entry of {}", path.display()))?;
            one.proof = Some(tree.prove(n)?.to_string());
        }
        keyfile::replace(path, &bundle.to_bytes())?;
    }
    Ok(())
}

fn monitor(path: &Path, of: &Verifier, owner: Option<&str>, from: u64) -> Result<()> {
    let dir = open(path)?;
    let newest = checked(&dir, of)?;
    each(&Tree::new(&dir, &newest), newest.size(), from, |n, bytes| {
        match Entry::read(&bytes) {
            Ok((entry, _)) if owner.is_none_or(|owner| entry.about().0.owner() == owner) => {
                println!("{n} {}", word(about(&entry)));
            }
            Ok(_) => {}
            // It may be of a later version, and about anybody.
            Err(e) => println!("{n} UNREAD {}", word(e)),
        }
        Ok(())
    })?;
    eprintln!("{} entries of {}, all as signed", newest.size(), newest.origin());
    Ok(())
}
