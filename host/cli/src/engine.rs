//! `eider engine`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use eider_engines::{
    BUNDLE_MAX, Build, Bundle, Digests, EngineName, Entry, Logged, Look, MANIFEST_MAX, Manifest, POLICY_MAX, Role,
    Trust, Wanted,
};
use eider_node::{EngineBinary, Paths, WorkerPolicy, touches_of};
use eider_sandbox::{CONTRACT, Variant, limits};
use semver::Version;

use crate::words::word;
use crate::{builds, keyfile, setup};

#[derive(Subcommand)]
pub(crate) enum EngineCommand {
    /// Print what an engine is, what it may touch, and what it offers.
    Inspect {
        /// A component file, or NAME, NAME@VERSION of `eider engine list`; the built-in engine unless said.
        engine: Option<String>,
        /// The worker's policy that says what is granted; see policies/worker.toml.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// Compile an engine for this machine now, instead of when it is first needed.
    Compile {
        /// A component file, or NAME, NAME@VERSION of `eider engine list`; the built-in engine unless said.
        engine: Option<String>,
        /// The image that counts fuel.
        #[arg(long)]
        metered: bool,
    },
    /// Make a key that signs for one purpose, and print its public half.
    Keygen {
        /// What for: publisher, log, witness or rebuilder.
        role: Role,
        /// Its name, best a domain of yours. A publisher's engines are called NAME/SOMETHING.
        name: String,
        /// Where the secret goes; never over another file.
        file: PathBuf,
    },
    /// Sign what an engine is, for publication: its digests, what it may touch, what it was built from and under which licences.
    Pack(PackArgs),
    /// Check all that a bundle says, without network or store, and say each step.
    Verify {
        /// A bundle of `eider engine pack`.
        bundle: PathBuf,
        /// The engine itself, compared with what the bundle says of it.
        component: Option<PathBuf>,
        /// Whom to believe: NAME+ID+KEY as `keygen` prints it; as often as there are publishers.
        #[arg(long = "publisher", value_name = "KEY", required = true)]
        publishers: Vec<String>,
        /// Whose rebuilds to believe; as often as there are rebuilders.
        #[arg(long = "rebuilder", value_name = "KEY")]
        rebuilders: Vec<String>,
        /// Which log must have it, and which witnesses must have seen that: a file in the form of c2sp.org/tlog-policy.
        #[arg(long, value_name = "FILE")]
        log_policy: Option<PathBuf>,
    },
    /// Sign that you have built the same bytes yourself, from what the manifest says that they were built from.
    Attest {
        /// The engine's bundle, which this is added to; it counts where a log is asked for once it is in that.
        bundle: PathBuf,
        /// What you have built.
        component: PathBuf,
        /// Your key: `eider engine keygen rebuilder NAME FILE`.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Take a published engine back. What this adds to the bundle counts everywhere once it is in the log.
    Yank {
        /// The engine's bundle.
        bundle: PathBuf,
        /// Why, in a line.
        #[arg(long)]
        reason: String,
        /// The publisher's key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Put a build into this node's store, if its engine policy admits it: to run it, to ask others to run it, and for its worker.
    Add {
        /// A bundle of `eider engine pack`, best with the log's proof.
        bundle: PathBuf,
        /// The engine itself. Without, what is new in the bundle is taken, a yank or a newer proof; and a build that was fetched for jobs is kept.
        component: Option<PathBuf>,
        /// The engine policy; `engines.toml` in EIDER_HOME, or as shipped, unless said.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// The builds that this node has.
    List {
        /// The engine policy that says which of them are run.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// What is published of a build that this node has.
    Show {
        /// NAME, NAME@VERSION, or its hash.
        engine: Wanted,
        /// The licences of what is linked in, and nothing else.
        #[arg(long)]
        licenses: bool,
    },
    /// Remove a build from this node's store.
    Remove {
        /// NAME, NAME@VERSION, or its hash.
        engine: Wanted,
    },
    /// Let builds of a name ask for as much as this one does: imports, memory, tables.
    Approve {
        /// Its bundle.
        bundle: PathBuf,
    },
    /// Which builds this node takes.
    #[command(subcommand)]
    Policy(EnginePolicyCommand),
}

#[derive(Subcommand)]
pub(crate) enum EnginePolicyCommand {
    /// Read an engine policy and say what is wrong in it.
    Check {
        /// The file; `engines.toml` in EIDER_HOME, or as shipped, unless said.
        file: Option<PathBuf>,
    },
    /// What each rule makes of a build.
    Explain {
        /// A bundle, or NAME, NAME@VERSION or a hash of `eider engine list`.
        engine: String,
        /// The engine itself, which is then looked into.
        component: Option<PathBuf>,
        /// The engine policy; `engines.toml` in EIDER_HOME, or as shipped, unless said.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
pub(crate) struct PackArgs {
    /// A component file.
    component: PathBuf,
    /// OWNER/NAME, where OWNER is the key's name.
    #[arg(long)]
    name: EngineName,
    /// As 1.2.0: what is published once under it stays that.
    #[arg(long, value_parser = eider_engines::version)]
    version: Version,
    /// The publisher's key: `eider engine keygen publisher OWNER FILE`.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// What it was built from: SLSA v1 provenance, as JSON.
    #[arg(long, value_name = "FILE")]
    provenance: Option<PathBuf>,
    /// Licence texts of what is linked in; as often as there are files.
    #[arg(long = "license", value_name = "FILE", required = true)]
    licenses: Vec<PathBuf>,
    /// The bundle; never over another file.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(crate) async fn engine(command: EngineCommand) -> Result<ExitCode> {
    match command {
        EngineCommand::Inspect { engine, policy } => inspect(engine.as_deref(), policy.as_ref()),
        EngineCommand::Compile { engine, metered } => {
            let variant = if metered { Variant::Metered } else { Variant::Plain };
            let image = setup::image(&Paths::from_env()?, &setup::engine(engine.as_deref())?.0, variant).await?;
            println!("{}", image.path().display());
            Ok(ExitCode::SUCCESS)
        }
        EngineCommand::Keygen { role, name, file } => {
            println!("{}", keyfile::new(&name, role, &file)?.verifier());
            Ok(ExitCode::SUCCESS)
        }
        EngineCommand::Pack(args) => pack(&args),
        EngineCommand::Verify { bundle, component, publishers, rebuilders, log_policy } => {
            verify(&bundle, component.as_deref(), &publishers, &rebuilders, log_policy.as_deref())
        }
        EngineCommand::Attest { bundle, component, key } => attest(&bundle, &component, &key),
        EngineCommand::Yank { bundle, reason, key } => yank(&bundle, reason, &key),
        EngineCommand::Add { bundle, component, policy } => {
            builds::add(&bundle, component.as_deref(), policy.as_deref())
        }
        EngineCommand::List { policy } => builds::list(policy.as_deref()),
        EngineCommand::Show { engine, licenses } => builds::show(&engine, licenses),
        EngineCommand::Remove { engine } => builds::remove(&engine),
        EngineCommand::Approve { bundle } => builds::approve(&bundle),
        EngineCommand::Policy(EnginePolicyCommand::Check { file }) => builds::check(file.as_deref()),
        EngineCommand::Policy(EnginePolicyCommand::Explain { engine, component, policy }) => {
            builds::explain(&engine, component.as_deref(), policy.as_deref())
        }
    }
}

pub(crate) fn component_bytes(file: &Path) -> Result<Vec<u8>> {
    let engine = EngineBinary::file(file)?;
    engine.bytes().with_context(|| format!("engine {}", engine.name))
}

/// The size of a memory, in pages: initial, and maximum of its own.
pub(crate) fn memory_words((initial, maximum): &(u64, Option<u64>)) -> String {
    let pages = |n: u64| bytesize::ByteSize(n.saturating_mul(65536));
    let maximum = maximum.map_or_else(|| "no maximum of its own".into(), |m| format!("at most {}", pages(m)));
    format!("{}, {maximum}", pages(*initial))
}

/// The size of a table.
pub(crate) fn table_words((initial, maximum): &(u64, Option<u64>)) -> String {
    let maximum = maximum.map_or_else(|| "no maximum of its own".into(), |m| format!("at most {m}"));
    format!("{initial} entries, {maximum}")
}

fn pack(args: &PackArgs) -> Result<ExitCode> {
    let key = keyfile::load(&args.key, Role::Publisher)?;
    let bytes = component_bytes(&args.component)?;
    let found = eider_sandbox::inspect(&bytes).with_context(|| format!("engine {}", args.component.display()))?;
    if let Some(refusal) = found.refusal(&CONTRACT) {
        println!("no worker runs it: {}", word(refusal));
        return Ok(ExitCode::FAILURE);
    }
    let provenance = |path: &PathBuf| {
        let json = keyfile::read(path, MANIFEST_MAX)?;
        serde_json::from_slice(&json).with_context(|| format!("{} is no provenance in SLSA's form", path.display()))
    };
    let provenance = args.provenance.as_ref().map(provenance).transpose()?;
    let licenses = args.licenses.iter().map(|path| keyfile::text(path, MANIFEST_MAX));
    let licenses = licenses.collect::<Result<Vec<_>>>()?.join("\n");
    let build = Build { touches: touches_of(&found), provenance, licenses };
    let digests = Digests::of(&bytes);
    let manifest = Manifest { name: args.name.clone(), version: args.version.clone(), digests, build };
    let envelope = manifest.sign(&key)?;
    let entry = Entry::publish(&manifest, &envelope).sign(&key)?;
    let bundle = Bundle::new(envelope, entry.to_string());
    keyfile::create(&args.output, &bundle.checked_bytes()?)?;
    println!("{} {} {}", manifest.digests.blake3, manifest.name, manifest.version);
    Ok(ExitCode::SUCCESS)
}

fn verify(
    bundle: &Path,
    component: Option<&Path>,
    publishers: &[String],
    rebuilders: &[String],
    log_policy: Option<&Path>,
) -> Result<ExitCode> {
    let name = bundle.display();
    let bundle = Bundle::parse(&keyfile::read(bundle, BUNDLE_MAX)?).with_context(|| format!("{name}"))?;
    let log = match log_policy {
        Some(path) => Some(keyfile::text(path, POLICY_MAX)?.parse().with_context(|| format!("{}", path.display()))?),
        None => None,
    };
    let (publishers, unlogged) = (keyfile::verifiers(publishers)?, log.is_none());
    let bytes = component.map(component_bytes).transpose()?;
    let digests = bytes.as_ref().map(|bytes| Digests::of(bytes));
    let look = || {
        let found = eider_sandbox::inspect(bytes.as_deref().unwrap_or_default());
        found.map(|found| touches_of(&found)).map_err(|e| e.to_string())
    };
    let component = digests.as_ref().map(|digests| (digests, &look as &Look<'_>));
    let rebuilders = keyfile::verifiers(rebuilders)?;
    let by = bundle.rebuilt_by(&rebuilders, log.as_ref()).into_iter().map(String::from).collect::<Vec<_>>();
    let steps = bundle.verify(&Trust { publishers, log }, component);
    steps.iter().for_each(|step| println!("{step}"));
    let holds = steps.iter().all(|step| step.found.is_ok());
    if holds {
        if !by.is_empty() {
            println!("{:<10} ok       built by {}, too", "rebuilds", word(by.join(", ")));
        }
        let unseen = |what, why| println!("{what:<10} UNSEEN   {why}");
        if component.is_none() {
            unseen("component", "its bytes were not given");
        }
        if unlogged {
            unseen("log", "no --log-policy says which log to believe");
        }
        if by.len() < bundle.rebuilds.len() {
            unseen("rebuilds", "some are by nobody whom a --rebuilder names, or in no log that is believed");
        }
        unseen("yank", "whether it was taken back after this bundle was made, `eider log monitor` shows");
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn attest(path: &Path, component: &Path, key: &Path) -> Result<ExitCode> {
    let key = keyfile::load(key, Role::Rebuilder)?;
    let mut bundle = Bundle::parse(&keyfile::read(path, BUNDLE_MAX)?).with_context(|| format!("{}", path.display()))?;
    let manifest = Manifest::read(&bundle.manifest)?;
    if let Err(e) = manifest.digests.same(&Digests::of(&component_bytes(component)?)) {
        println!("NOT the same: {e}");
        return Ok(ExitCode::FAILURE);
    }
    let entry = Entry::rebuild(&manifest).sign(&key)?;
    let by = bundle.rebuilt_by(std::slice::from_ref(key.verifier()), None);
    ensure!(by.is_empty(), "{} has signed that already", key.verifier().name());
    bundle.rebuilds.push(Logged { entry: entry.to_string(), proof: None });
    keyfile::replace(path, &bundle.checked_bytes()?)?;
    println!("{} {} {}, built by {}", manifest.digests.blake3, manifest.name, manifest.version, key.verifier().name());
    Ok(ExitCode::SUCCESS)
}

fn yank(path: &Path, reason: String, key: &Path) -> Result<ExitCode> {
    let key = keyfile::load(key, Role::Publisher)?;
    let mut bundle = Bundle::parse(&keyfile::read(path, BUNDLE_MAX)?).with_context(|| format!("{}", path.display()))?;
    let manifest = Manifest::open(&bundle.manifest, key.verifier())?;
    ensure!(bundle.yanks.is_empty(), "it was taken back already; `eider log append` makes it known");
    let (name, version, blake3) = (manifest.name, manifest.version, manifest.digests.blake3);
    let entry = Entry::Yank { name, version, blake3, reason }.sign(&key)?;
    bundle.yanks.push(Logged { entry: entry.to_string(), proof: None });
    keyfile::replace(path, &bundle.checked_bytes()?)?;
    eprintln!("taken back; `eider log append` makes it known");
    Ok(ExitCode::SUCCESS)
}

fn inspect(named: Option<&str>, policy: Option<&PathBuf>) -> Result<ExitCode> {
    let (engine, _) = setup::engine(named)?;
    let (rule, grant) = match policy {
        Some(path) => (format!("`grant` of {}", path.display()), WorkerPolicy::load(path)?.grant),
        None => ("the default `grant` of a worker".into(), WorkerPolicy::default().grant),
    };
    let bytes = engine.bytes().with_context(|| format!("engine {}", engine.name))?;
    let found = eider_sandbox::inspect(&bytes).with_context(|| format!("engine {}", engine.name))?;
    println!("engine   {}", engine.name);
    println!("blake3   {}", found.hash);
    println!("bytes    {} of at most {}", found.bytes, limits::COMPONENT_BYTES);
    println!("inside   {} core modules, {} levels deep of at most {}", found.modules, found.nesting, limits::NESTING);
    for made_by in &found.producers {
        println!("made by  {}", word(made_by));
    }
    for sizes in &found.memories {
        println!("memory   {}; a job's limit holds below that", memory_words(sizes));
    }
    for sizes in &found.tables {
        println!("table    {}; {} is the limit", table_words(sizes), limits::TABLE_ENTRIES);
    }
    println!("imports");
    for import in &found.imports {
        let verdict = if grant.contains(&import.name) {
            format!("granted: {rule} names it")
        } else if CONTRACT.contains(&import.name.as_str()) {
            format!("NOT granted: {rule} does not name it")
        } else {
            "NOT granted: no cell has such a thing".into()
        };
        println!("  {} ({}) {verdict}", word(&import.name), import.kind);
    }
    println!("exports");
    for export in &found.exports {
        println!("  {}", word(export));
    }
    match found.refusal(&grant) {
        None => {
            println!("a worker with this policy runs it");
            Ok(ExitCode::SUCCESS)
        }
        Some(reason) => {
            println!("a worker with this policy REFUSES it: {}", word(reason));
            Ok(ExitCode::FAILURE)
        }
    }
}
