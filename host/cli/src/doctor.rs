//! `eider doctor`: what this machine can do for a donor, and what it cannot.

use std::process::ExitCode;

use anyhow::Result;
use eider_node::{Paths, PauseFile, WorkerPolicy};
use eider_sandbox::{CellGroup, Variant, Wall, limits, probe_walls};

use crate::setup;

#[derive(clap::Args)]
pub(crate) struct DoctorArgs {
    /// List the limits of the sandbox and the settings of its profiles too.
    #[arg(long)]
    limits: bool,
}

pub(crate) async fn doctor(args: DoctorArgs) -> Result<ExitCode> {
    let walls = probe_walls(&setup::cell_command()?).await?;
    println!("the operating-system jail around each job, as a process of this machine has just found it:");
    for wall in Wall::ALL {
        let need = if Wall::FLOOR.contains(&wall) { "required" } else { "landlock or namespaces is required" };
        match (walls.up.get(&wall), walls.missing.get(&wall)) {
            (Some(how), _) => println!("  {wall:<11} up       {how}"),
            (None, reason) => {
                println!("  {wall:<11} MISSING  {} ({need})", reason.map_or("not tried", String::as_str));
            }
        }
    }
    match CellGroup::possible() {
        Ok(what) => println!("control group around all jobs: can be made, {what}"),
        Err(why) => println!("control group around all jobs: none. {why}"),
    }
    let paths = Paths::from_env()?;
    println!("keys in {}, compiled engines in {}", paths.home.display(), paths.engines().display());
    match PauseFile::of(&paths.home).reason(std::time::SystemTime::now()) {
        Some(reason) => println!("jobs: {reason}"),
        None => println!("jobs: not paused"),
    }
    println!("hardware that could vouch for this machine (what it proves is for a requester to say):");
    let sources = eider_attest_device::probe();
    if sources.is_empty() {
        println!("  none was found");
    }
    for source in sources {
        println!("  {source}");
    }
    println!(
        "  TPM evidence was tried with software TPMs alone; SEV-SNP, TDX and Nitro evidence was never made on its hardware"
    );
    if args.limits {
        println!("limits of the sandbox, beside those of a job's own Offer:");
        for limit in limits::all() {
            println!("  {:<27} {:>13} {:<17} {}", limit.name, limit.value, limit.unit, limit.end);
        }
        for variant in Variant::ALL {
            println!("profile {}: {}", variant.profile(), variant.settings());
        }
    }
    let lacks = walls.lacks(&WorkerPolicy::default().require);
    if let Some(lack) = &lacks {
        println!("a worker does NOT start here: {lack}");
    }
    Ok(if lacks.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
