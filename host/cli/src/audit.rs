//! `eider audit`: who claimed what hardware in past jobs, who proved it, and whether that still holds.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use eider_attest::{Appraisal, Class, EvidenceKind};
use eider_node::audit::{self, ARCHIVE_MAX, Alone, Archive, Stand};
use eider_node::{JobRecord, Paths, PeerRecord, Requirement, Store};
use eider_protocol::NodeId;
use serde_json::{Value, json};

use crate::words::{self, message, word};
use crate::{policy, setup};

/// What CI reads: something differs.
pub(crate) const DIFFERS: u8 = 4;

#[derive(clap::Subcommand)]
pub(crate) enum AuditCommand {
    /// Jobs and their workers: one row a worker.
    List {
        /// SQL over the columns, for example "class = 'internal' AND won AND verified < claimed".
        #[arg(long = "where", value_name = "SQL")]
        filter: Option<String>,
        /// One JSON object a row.
        #[arg(long)]
        json: bool,
    },
    /// One job: what each worker claimed and proved, and why not.
    Show {
        /// The beginning of its id, or an archive.
        job: String,
        /// The whole record.
        #[arg(long)]
        json: bool,
    },
    /// Compare all of an archive with what was signed, and judge its evidence again, as of then and as of today. Without network
    /// or store.
    Verify {
        /// An archive.
        archive: PathBuf,
        /// Whose it must be: anybody can make an archive of jobs that never were, under a key of its own.
        #[arg(long, value_name = "NODE")]
        by: Option<NodeId>,
        /// Judge as of this time instead of today, as 2026-01-31T12:00:00Z.
        #[arg(long, value_parser = humantime::parse_rfc3339)]
        at: Option<SystemTime>,
        /// Both verdicts of each worker, and what is the requester's word alone, as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write a job with all of its evidence into one signed file.
    Export {
        /// The beginning of its id.
        job: String,
        /// The file.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Judge past evidence under another policy, and list the verdicts that change.
    Diff {
        /// The policy: a file or a shipped one's name.
        #[arg(long, value_name = "POLICY")]
        policy: String,
        /// Archives; all jobs of the store unless said.
        archives: Vec<PathBuf>,
        /// One JSON object a verdict that changes.
        #[arg(long)]
        json: bool,
    },
}

/// The requester's store.
pub(crate) fn store(paths: &Paths) -> Result<Store> {
    std::fs::create_dir_all(&paths.home).with_context(|| format!("{}", paths.home.display()))?;
    Ok(Store::open(&paths.home.join("jobs.sqlite"))?)
}

pub(crate) async fn audit(command: AuditCommand) -> Result<ExitCode> {
    match command {
        AuditCommand::List { filter, json } => list(filter.as_deref(), json).await,
        AuditCommand::Show { job, json } => show(&job, json),
        AuditCommand::Verify { archive, by, at, json } => {
            verify(&archive, by, at.unwrap_or_else(SystemTime::now), json)
        }
        AuditCommand::Export { job, output } => export(&job, &output),
        AuditCommand::Diff { policy, archives, json } => diff(&policy, &archives, json),
    }
}

fn read(path: &Path) -> Result<Archive> {
    let name = || format!("archive {}", path.display());
    let file = File::open(path).with_context(name)?;
    ensure!(file.metadata().with_context(name)?.len() <= ARCHIVE_MAX, "{}: larger than any archive", name());
    let mut bytes = vec![];
    file.take(ARCHIVE_MAX).read_to_end(&mut bytes).with_context(name)?;
    audit::open(&bytes).with_context(name)
}

/// A row of `audit list`.
fn row(record: &JobRecord, peer: &PeerRecord) -> Value {
    let a = peer.appraisal.as_ref();
    let node = peer.node.map(|n| n.to_string());
    json!({
        "job": record.job, "offered": record.at, "class": record.class, "ended": record.end, "policy": record.policy,
        "node": node, "address": peer.address, "fate": peer.fate.to_string(),
        "won": peer.node.is_some_and(|n| record.agreed.contains(&n)),
        "kind": a.and_then(|a| a.kind), "claimed": a.map(|a| a.claimed), "verified": a.map(|a| a.tier),
        "lack": a.and_then(Appraisal::lack), "reused": a.is_some_and(|a| a.reused),
        "reasons": a.map_or_else(String::new, reasons),
    })
}

fn reasons(appraisal: &Appraisal) -> String {
    appraisal.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

async fn list(filter: Option<&str>, json: bool) -> Result<ExitCode> {
    let records = store(&Paths::from_env()?)?.records()?;
    let rows = records.iter().flat_map(|r| r.peers.iter().map(|p| row(r, p)));
    let mut file = tempfile::Builder::new().suffix(".json").tempfile()?;
    let mut any = false;
    for row in rows {
        writeln!(file, "{row}")?;
        any = true;
    }
    file.flush()?;
    if !any {
        eprintln!("no jobs yet: `eider query` keeps them in {}", Paths::from_env()?.home.display());
        return Ok(ExitCode::SUCCESS);
    }
    // In the sandbox, as any query: the filter may come from anywhere.
    let columns = if json {
        "*"
    } else {
        "substr(job, 5, 12) AS job, to_timestamp(offered)::TIMESTAMP AS offered, class, ended, substr(node, 4, 10) AS node, kind, claimed, verified, won, fate"
    };
    let sql =
        format!("SELECT {columns} FROM jobs WHERE {} ORDER BY jobs.offered DESC, jobs.node", filter.unwrap_or("true"));
    let format = if json { "json" } else { "table" };
    let input = format!("jobs={}", file.path().display());
    let args = ["eider", "--format", format, "--input", &input, &sql];
    crate::run::run(crate::run::RunArgs::from_words(args)?).await
}

fn verdict(appraisal: &Appraisal) -> String {
    match appraisal.lack() {
        None if appraisal.kind == Some(EvidenceKind::Development) => {
            format!("{} by DEVELOPMENT evidence, which proves nothing", appraisal.tier)
        }
        None => format!("{} proven", appraisal.tier),
        Some(Class::Absent) => format!("{}: no evidence", appraisal.tier),
        Some(Class::Invalid) => format!("{}: INVALID evidence", appraisal.tier),
        Some(Class::Insufficient) => format!("{}: insufficient evidence", appraisal.tier),
    }
}

fn show(job: &str, json: bool) -> Result<ExitCode> {
    let path = Path::new(job);
    let record = if path.is_file() {
        read(path)?.record
    } else {
        serde_json::from_str(&store(&Paths::from_env()?)?.job(job)?.0)?
    };
    if json {
        println!("{}", words::json(&serde_json::to_string_pretty(&record)?));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} {} data, {}: {}", record.job, record.class, word(record.end), message(&record.reason));
    match record.policy {
        Some(policy) => println!("policy {policy}"),
        None => println!("no policy"),
    }
    for peer in &record.peers {
        println!("{} {}", word(&peer.address), peer.node.map(|n| n.to_string()).unwrap_or_default());
        println!("  {}", word(&peer.fate));
        let Some(a) = &peer.appraisal else { continue };
        let kind = a.kind.map_or("nothing", |k| k.word());
        let reused = if a.reused { ", evidence of an earlier job" } else { "" };
        println!("  claimed {} by {kind}, {}{reused}", a.claimed, verdict(a));
        for reason in &a.reasons {
            println!("    {}\n      {}", word(reason), reason.code.advice());
        }
        for (name, value) in &a.claims {
            println!("    {}: {}", word(name), word(value));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn export(job: &str, output: &Path) -> Result<ExitCode> {
    let paths = Paths::from_env()?;
    let (record, policy) = store(&paths)?.job(job)?;
    let identity = setup::identity(&paths.key())?;
    let archive = audit::export(&identity, &record, policy.as_deref())?;
    // What would not verify is not handed out.
    audit::open(&archive)?;
    std::fs::write(output, &archive).with_context(|| format!("archive {}", output.display()))?;
    println!("{}: {} bytes, signed by {}", output.display(), archive.len(), identity.node_id());
    Ok(ExitCode::SUCCESS)
}

fn seconds(time: SystemTime) -> Result<i64> {
    Ok(i64::try_from(time.duration_since(UNIX_EPOCH).context("a time before 1970")?.as_secs())?)
}

/// Verdicts without the time at which they were reached.
fn same(a: &Appraisal, b: &Appraisal) -> bool {
    a.tier == b.tier && a.reasons == b.reasons
}

/// What no signature shows, one line a field.
fn print_alone(alone: &[Alone]) {
    println!("the requester's word alone:");
    for Alone { field, of, why } in alone {
        match (of.is_empty(), field.starts_with("timeline")) {
            (true, _) => println!("  {field}: {why}"),
            (false, true) => println!("  {field} ({} moments): {why}", of.len()),
            (false, false) => println!("  {field} ({} candidates): {why}", of.len()),
        }
    }
}

fn verify(path: &Path, by: Option<NodeId>, at: SystemTime, json: bool) -> Result<ExitCode> {
    let wanted = |archive: Archive| -> Result<Archive> {
        by.map_or(Ok(()), |node| archive.by(node)).with_context(|| format!("archive {}", path.display()))?;
        Ok(archive)
    };
    let archive = match read(path).and_then(wanted) {
        Ok(archive) => archive,
        Err(e) => {
            eprintln!("eider: {}", message(format_args!("{e:#}")));
            return Ok(ExitCode::FAILURE);
        }
    };
    let (stands, alone) = (archive.stands(seconds(at)?)?, archive.alone()?);
    let repeats = |s: &Stand| s.then == s.recorded;
    if json {
        let found = json!({
            "job": archive.record.job, "requester": archive.record.requester, "workers": stands, "alone": alone,
        });
        println!("{}", words::json(&serde_json::to_string_pretty(&found)?));
    } else {
        let record = &archive.record;
        println!(
            "{}, archived by {}: whole, and as all have signed whose words are in it",
            record.job, record.requester
        );
        if by.is_none() {
            println!("that it is by whom you think, --by NODE says");
        }
        if archive.policy.as_ref().is_some_and(|p| p.development) {
            println!("DEVELOPMENT POLICY: nothing here is proof of hardware");
        }
        for s in &stands {
            println!("{} claimed {} ({})", s.node, s.claimed, word(&s.fate));
            println!("  then:  {}{}", verdict(&s.then), if repeats(s) { "" } else { "  BUT RECORDED OTHERWISE" });
            println!("  today: {}", verdict(&s.today));
            for reason in s.today.reasons.iter().filter(|r| !s.then.reasons.contains(r)) {
                println!("    today {}", word(reason));
            }
            for reason in &s.then.reasons {
                println!("    {}", word(reason));
            }
        }
        if stands.is_empty() {
            println!("no worker was asked to prove anything");
        }
        print_alone(&alone);
    }
    Ok(if !stands.iter().all(repeats) {
        ExitCode::FAILURE
    } else if stands.iter().any(|s| !same(&s.then, &s.today)) {
        ExitCode::from(DIFFERS)
    } else {
        ExitCode::SUCCESS
    })
}

fn diff(name: &str, archives: &[PathBuf], json: bool) -> Result<ExitCode> {
    let Requirement { policy: new, .. } = policy::load(name)?;
    let jobs = if archives.is_empty() {
        let records = store(&Paths::from_env()?)?.records()?;
        records.into_iter().map(|record| Archive { record, policy: None }).collect()
    } else {
        archives.iter().map(|p| read(p)).collect::<Result<Vec<_>>>()?
    };
    if jobs.is_empty() {
        bail!("there are no jobs to judge again");
    }
    let mut flipped = 0;
    for job in &jobs {
        for (node, before, after) in job.under(&new)? {
            let passed = job.record.agreed.contains(&node) || before.as_ref().is_none_or(|b| b.reasons.is_empty());
            let passes = after.tier >= new.minimum;
            let tier = before.as_ref().map(|b| b.tier).unwrap_or_default();
            if passed == passes && tier == after.tier {
                continue;
            }
            flipped += 1;
            if json {
                let change =
                    json!({"job": job.record.job, "node": node, "before": before, "after": after, "passes": passes});
                println!("{}", words::json(&change.to_string()));
            } else {
                let verdict = if passes { "now passes" } else { "now FAILS" };
                println!(
                    "{} {}: {tier} before, {} under {}: {verdict}",
                    job.record.job.short(),
                    node.short(),
                    after.tier,
                    new.name
                );
                for reason in &after.reasons {
                    println!("    {}", word(reason));
                }
            }
        }
    }
    if !json {
        println!("{flipped} of the verdicts on {} jobs change under {}", jobs.len(), new.name);
    }
    Ok(if flipped == 0 { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
}
