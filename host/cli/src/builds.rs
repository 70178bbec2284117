//! `eider engine add|list|show|remove|approve|policy`: the builds that this node has, and which it takes.

use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use eider_engines::{
    BUNDLE_MAX, Bundle, Candidate, Digests, EnginePolicy, EngineStore, Judgement, Look, Manifest, Wanted,
};
use eider_node::{EngineBinary, Paths, engine_policy, touches_of};
use eider_protocol::Hash;

use crate::engine::{component_bytes, memory_words, table_words};
use crate::words::{message, word};
use crate::{keyfile, setup};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn store() -> Result<EngineStore> {
    setup::builds(&Paths::from_env())
}

fn bundle(path: &Path) -> Result<Bundle> {
    Bundle::parse(&keyfile::read(path, BUNDLE_MAX)?).with_context(|| format!("{}", path.display()))
}

/// What a policy makes of a build, of which its bundle and all bytes of its component may be there.
fn judged(
    policy: &EnginePolicy,
    store: &EngineStore,
    hash: Hash,
    bundle: Option<&Bundle>,
    component: Option<&[u8]>,
) -> Result<Judgement> {
    let digests = component.map(Digests::of);
    let look = || {
        let found = eider_sandbox::inspect(component.unwrap_or_default());
        found.map(|found| touches_of(&found)).map_err(|e| e.to_string())
    };
    let name = bundle.map(|bundle| Manifest::read(&bundle.manifest)).transpose()?.map(|manifest| manifest.name);
    let before = name.map(|name| store.admitted(&name)).transpose()?.flatten();
    let yanks = &store.yanks(&hash)?;
    let component = digests.as_ref().map(|digests| (digests, &look as &Look<'_>));
    Ok(policy.judge(&Candidate { hash, bundle, component, yanks, before: before.as_ref(), now: now() }))
}

fn print(judgement: &Judgement) -> ExitCode {
    for rule in &judgement.0 {
        println!("{}", message(rule));
    }
    match judgement.admitted() {
        Some(rule) => {
            println!("admitted, by rule {}", rule.rule);
            ExitCode::SUCCESS
        }
        None => {
            println!("NOT admitted");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn add(path: &Path, component: Option<&Path>, policy: Option<&Path>) -> Result<ExitCode> {
    let (policy, _) = engine_policy(&Paths::from_env()?, policy)?;
    let (store, bundle) = (store()?, bundle(path)?);
    let manifest = Manifest::read(&bundle.manifest)?;
    let (hash, name) = (manifest.digests.blake3, format!("{} {}", manifest.name, manifest.version));
    let bytes = component.map(component_bytes).transpose()?;
    // Also of what is not here: it may come.
    let taken_back = policy.believed_yanks(&bundle);
    store.put_yanks(&hash, &taken_back)?;
    let judgement = judged(&policy, &store, hash, Some(&bundle), bytes.as_deref())?;
    if judgement.admitted().is_none() {
        let code = print(&judgement);
        if !taken_back.is_empty() {
            println!("that {name} was taken back is known here from now on");
        }
        return Ok(code);
    }
    let here = store.get(&hash)?.is_some_and(|stored| stored.whole);
    ensure!(here || bytes.is_some(), "{name} is not here yet: give the engine itself too");
    store.put_bundle(bundle)?;
    match bytes {
        Some(bytes) => store.put_component(&manifest.digests, &bytes)?,
        None => store.keep(&hash)?,
    }
    // What a rule of bytes alone admits opens nothing for others of the name, which anybody can have given it.
    if judgement.by_publisher() {
        store.admit(&manifest.name, &manifest.build.touches)?;
    }
    println!("{hash} {name}");
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn list(policy: Option<&Path>) -> Result<ExitCode> {
    let (policy, _) = engine_policy(&Paths::from_env()?, policy)?;
    let store = store()?;
    let built_in = EngineBinary::built_in()?;
    let judgement = judged(&policy, &store, built_in.hash, None, None)?;
    let verdict = |judgement: &Judgement| match judgement.admitted() {
        Some(rule) => format!("admitted by rule {} ({})", rule.rule, word(&rule.about)),
        None => format!("NOT admitted: {}", judgement.refusal()),
    };
    println!("{} {} (built in) {}", built_in.hash, built_in.name, verdict(&judgement));
    for stored in store.list()? {
        let m = &stored.manifest;
        let judgement = judged(&policy, &store, stored.hash, Some(&stored.bundle), None)?;
        let whole = if stored.whole { String::new() } else { " (its bytes are not here)".into() };
        println!("{} {} {}{whole} {}", stored.hash, m.name, m.version, verdict(&judgement));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn show(engine: &Wanted, licenses: bool) -> Result<ExitCode> {
    let stored = store()?.find(engine)?;
    let m = &stored.manifest;
    if licenses {
        println!("{}", message(&m.build.licenses));
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "engine   {} {}, by its manifest's word; `eider engine policy explain` checks whose that is",
        m.name, m.version
    );
    println!("blake3   {}", m.digests.blake3);
    println!("sha256   {}", hex::encode(m.digests.sha256));
    println!("bytes    {}{}", m.digests.size, if stored.whole { "" } else { ", which are not here" });
    for import in &m.build.touches.imports {
        println!("imports  {}", word(import));
    }
    m.build.touches.memories.iter().for_each(|sizes| println!("memory   {}", memory_words(sizes)));
    m.build.touches.tables.iter().for_each(|sizes| println!("table    {}", table_words(sizes)));
    match &m.build.provenance {
        Some(provenance) => println!("built    {}", message(serde_json::to_string_pretty(provenance)?)),
        None => println!("built    from what, its publisher does not say"),
    }
    println!("licences {} bytes: --licenses prints them", m.build.licenses.len());
    let logged = if stored.bundle.published.proof.is_some() { "with a proof" } else { "without a proof" };
    println!("log      its bundle is {logged} that it is in one; `eider engine policy explain` checks it");
    println!("yanks    {} known here", stored.yanks.len());
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn remove(engine: &Wanted) -> Result<ExitCode> {
    let store = store()?;
    let stored = store.find(engine)?;
    store.remove(&stored.hash)?;
    println!("removed {} {}", stored.manifest.name, stored.manifest.version);
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn approve(path: &Path) -> Result<ExitCode> {
    let store = store()?;
    let manifest = Manifest::read(&bundle(path)?.manifest)?;
    let touches = &manifest.build.touches;
    match store.admitted(&manifest.name)? {
        Some(before) => match before.grown(touches) {
            Some(more) => println!("from now on builds of {} may ask for this, too: {}", manifest.name, word(more)),
            None => println!("builds of {} may that already", manifest.name),
        },
        None => println!(
            "no build of {} was admitted before; from now on none may ask for more than this one",
            manifest.name
        ),
    }
    store.admit(&manifest.name, touches)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn check(file: Option<&Path>) -> Result<ExitCode> {
    let (policy, path) = engine_policy(&Paths::from_env()?, file)?;
    let shown = path.map_or_else(|| "as shipped".into(), |path| path.display().to_string());
    println!("{shown}: good, {} rules", policy.rules());
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn explain(engine: &str, component: Option<&Path>, policy: Option<&Path>) -> Result<ExitCode> {
    let (policy, _) = engine_policy(&Paths::from_env()?, policy)?;
    let store = store()?;
    let path = Path::new(engine);
    let (hash, bundle, bytes) = if path.is_file() {
        let bundle = bundle(path)?;
        let bytes = component.map(component_bytes).transpose()?;
        (Manifest::read(&bundle.manifest)?.digests.blake3, Some(bundle), bytes)
    } else {
        let wanted = engine.parse::<Wanted>();
        let wanted = wanted.with_context(|| format!("{} is no file, and no name of an engine", word(engine)))?;
        match (store.find(&wanted), wanted) {
            (Ok(stored), _) => {
                let bytes = if stored.whole { Some(store.component_bytes(&stored.hash)?) } else { None };
                (stored.hash, Some(stored.bundle), bytes)
            }
            // A rule may name bytes of which nothing is published.
            (Err(_), Wanted::Bytes(hash)) => (hash, None, None),
            (Err(e), Wanted::Named(..)) => return Err(e.into()),
        }
    };
    Ok(print(&judged(&policy, &store, hash, bundle.as_ref(), bytes.as_deref())?))
}
