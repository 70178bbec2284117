//! How far a platform is behind what Intel has published.

use std::cmp::Ordering;

use dcap_qvl::{QuoteClaims, SvnComponent, SvnShortfall, TcbInfo, TcbLevel, TcbStatus};

use super::{collateral::Collateral, quote::TdQuote, short};
use crate::{Code, Reason};

/// What Intel says of a platform, all parts together.
pub(super) struct Standing {
    pub(super) status: TcbStatus,
    /// Of the module that runs the TD now, if that is another.
    pub(super) current: Option<TcbStatus>,
    pub(super) date: String,
    /// Sorted, each once.
    pub(super) advisories: Vec<String>,
}

impl Standing {
    /// As `dcap-qvl` found it.
    pub(super) fn of(claims: &QuoteClaims) -> Self {
        let current = claims.platform.current_tcb_level.as_ref();
        let mut advisories = claims.tcb.advisory_ids.clone();
        advisories.extend(current.iter().flat_map(|l| l.advisory_ids.clone()));
        let date = claims.platform.tcb_level.tcb_date.clone();
        Self { status: claims.tcb.status, current: current.map(|l| l.tcb_status), date, advisories }.sorted()
    }

    fn sorted(mut self) -> Self {
        self.advisories.sort_unstable();
        self.advisories.dedup();
        self
    }
}

/// The same by this verifier, for TDs that `dcap-qvl` refuses for something else before it says it. `None` if a part has no
/// level.
pub(super) fn standing(quote: &TdQuote<'_>, collateral: &Collateral) -> Option<Standing> {
    let qe = collateral.qe.tcb_levels.iter().find(|l| quote.qe_svn() >= l.tcb.isvsvn)?;
    let mut advisories = qe.advisory_ids.clone();
    let mut converged = |svn: &[u8; 16]| {
        let level = level(collateral, svn)?;
        advisories.extend(level.advisory_ids.clone());
        let (mut status, mut date) = (level.tcb_status, &level.tcb_date);
        if let Some(identity) = collateral.tcb.tdx_module_identity(svn).ok()? {
            let module = identity.tcb_levels.iter().find(|l| l.shortfall(svn).is_none())?;
            advisories.extend(module.advisory_ids.clone());
            status = converge(status, module.tcb_status);
            // Of the older part; as text they sort as they do as times.
            date = date.min(&module.tcb_date);
        }
        Some((converge(status, qe.tcb_status), date.clone()))
    };
    let (launch, date) = converged(&quote.report.tee_tcb_svn)?;
    let current = match quote.later {
        Some(later) => Some(converged(&later.tee_tcb_svn2)?.0),
        None => None,
    };
    let status = current.map_or(launch, |current| relaunch(launch, current));
    Some(Standing { status, current, date, advisories }.sorted())
}

/// Intel's `convergeTcbStatuses`: only a part that is out of date or revoked counts.
fn converge(platform: TcbStatus, part: TcbStatus) -> TcbStatus {
    use TcbStatus::*;
    match (part, platform) {
        (Revoked, _) => Revoked,
        (OutOfDate, UpToDate | SWHardeningNeeded) => OutOfDate,
        (OutOfDate, ConfigurationNeeded | ConfigurationAndSWHardeningNeeded) => OutOfDateConfigurationNeeded,
        _ => platform,
    }
}

/// Intel's `checkForRelaunch`: launched out of date, and run by what is not.
fn relaunch(launch: TcbStatus, current: TcbStatus) -> TcbStatus {
    use TcbStatus::*;
    match (launch, current) {
        (OutOfDate, UpToDate | SWHardeningNeeded) => TDRelaunchAdvised,
        (OutOfDateConfigurationNeeded, UpToDate | SWHardeningNeeded)
        | (OutOfDate | OutOfDateConfigurationNeeded, ConfigurationNeeded | ConfigurationAndSWHardeningNeeded) => {
            TDRelaunchAdvisedConfigurationNeeded
        }
        _ => launch,
    }
}

/// Parts that have no level, or a revoked one.
pub(super) fn refusals(quote: &TdQuote<'_>, collateral: &Collateral) -> Vec<Reason> {
    let launch = quote.report.tee_tcb_svn;
    let current = quote.later.map(|r| r.tee_tcb_svn2);
    let mut all: Vec<Reason> = vec![];
    for svn in std::iter::once(&launch).chain(&current) {
        for reason in [platform(collateral, svn), module(&collateral.tcb, svn)].into_iter().flatten() {
            if !all.contains(&reason) {
                all.push(reason);
            }
        }
    }
    all.extend(quoting_enclave(quote.qe_svn(), collateral));
    all
}

fn too_old(detail: String) -> Option<Reason> {
    Some(Reason::new(Code::TcbTooOld, detail))
}

fn revoked(what: &str, advisories: &[String]) -> Option<Reason> {
    Some(Reason::new(Code::TcbStatus, format!("Revoked: {what}; {}", named(advisories))))
}

/// Advisories, for people.
pub(super) fn named(advisories: &[String]) -> String {
    if advisories.is_empty() { "no advisory is named".into() } else { short(&advisories.join(", ")) }
}

/// The newest level that this platform is not below.
fn level<'a>(collateral: &'a Collateral, svn: &[u8; 16]) -> Option<&'a TcbLevel> {
    let levels = collateral.tcb.tcb_levels.iter();
    levels.filter(|l| missing(collateral, svn, l).is_some_and(|m| m.is_empty())).max_by(newer)
}

fn platform(collateral: &Collateral, svn: &[u8; 16]) -> Option<Reason> {
    match level(collateral, svn) {
        Some(level) if level.tcb_status == TcbStatus::Revoked => revoked("the platform", &level.advisory_ids),
        Some(_) => None,
        None => {
            let Some(oldest) = collateral.tcb.tcb_levels.iter().min_by(newer) else {
                return too_old("the TCB info has no levels".into());
            };
            let (short_of, date) = (listed(collateral, svn, oldest), short(&oldest.tcb_date));
            too_old(format!("below every level that Intel still lists; the oldest, of {date}, needs {short_of}"))
        }
    }
}

fn module(tcb: &TcbInfo, svn: &[u8; 16]) -> Option<Reason> {
    let [_, version, ..] = svn;
    let identity = match tcb.tdx_module_identity(svn) {
        Ok(identity) => identity?,
        Err(_) => return too_old(format!("the TCB info knows no TDX module of version {version}")),
    };
    match identity.tcb_levels.iter().find(|l| l.shortfall(svn).is_none()) {
        Some(level) if level.tcb_status == TcbStatus::Revoked => revoked("the TDX module", &level.advisory_ids),
        Some(_) => None,
        None => {
            let oldest = identity.tcb_levels.iter().filter_map(|l| l.shortfall(svn)).min_by_key(|s| s.needs);
            too_old(format!("TDX module: {}", oldest.map_or_else(|| "it has no levels".into(), |s| text(&s))))
        }
    }
}

fn quoting_enclave(svn: u16, collateral: &Collateral) -> Option<Reason> {
    let levels = &collateral.qe.tcb_levels;
    match levels.iter().find(|l| svn >= l.tcb.isvsvn) {
        Some(level) if level.tcb_status == TcbStatus::Revoked => revoked("the quoting enclave", &level.advisory_ids),
        Some(_) => None,
        None => {
            let oldest = levels.iter().map(|l| l.tcb.isvsvn).min().unwrap_or_default();
            too_old(format!("quoting enclave {svn}; the oldest that Intel lists is {oldest}"))
        }
    }
}

/// Which components are behind the newest level, for people; empty if none is.
pub(super) fn behind(quote: &TdQuote<'_>, collateral: &Collateral) -> String {
    let svn = &quote.report.tee_tcb_svn;
    let Some(newest) = collateral.tcb.tcb_levels.iter().max_by(newer) else { return String::new() };
    let mut all = vec![];
    let components = missing(collateral, svn, newest).unwrap_or_default();
    if !components.is_empty() {
        all.push(format!("behind the level of {} in {}", short(&newest.tcb_date), listed(collateral, svn, newest)));
    }
    let module = collateral.tcb.tdx_module_identity(svn).ok().flatten();
    let needs = module.and_then(|m| m.tcb_levels.iter().filter_map(|l| l.shortfall(svn)).max_by_key(|s| s.needs));
    all.extend(needs.map(|s| text(&s)));
    let newest = collateral.qe.tcb_levels.iter().map(|l| l.tcb.isvsvn).max().unwrap_or_default();
    if quote.qe_svn() < newest {
        all.push(format!("quoting enclave: {} of {newest}", quote.qe_svn()));
    }
    all.join("; ")
}

/// The order in which Intel's library tries levels: CPU, PCE, TDX.
fn newer(a: &&TcbLevel, b: &&TcbLevel) -> Ordering {
    let (a, b) = (&a.tcb, &b.tcb);
    let cpu = a.sgx_components.cmp(&b.sgx_components);
    cpu.then(a.pce_svn.cmp(&b.pce_svn)).then_with(|| a.tdx_components.cmp(&b.tdx_components))
}

fn missing(collateral: &Collateral, svn: &[u8; 16], level: &TcbLevel) -> Option<Vec<SvnShortfall>> {
    let platform = &collateral.platform;
    level.shortfalls(&platform.cpu_svn, platform.pce_svn, Some(svn)).ok()
}

fn listed(collateral: &Collateral, svn: &[u8; 16], level: &TcbLevel) -> String {
    let all = missing(collateral, svn, level).unwrap_or_default();
    all.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn text(shortfall: &SvnShortfall) -> String {
    let SvnShortfall { component, have, needs } = shortfall;
    match component {
        SvnComponent::Sgx(n) => format!("CPU component {n}: {have} of {needs}"),
        SvnComponent::Tdx(n) => format!("TDX component {n}: {have} of {needs}"),
        SvnComponent::PceSvn => format!("PCE: {have} of {needs}"),
        SvnComponent::TdxModuleIsvSvn => format!("TDX module: {have} of {needs}"),
    }
}
