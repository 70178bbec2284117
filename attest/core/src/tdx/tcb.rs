//! How far a platform is behind what Intel has published.

use std::cmp::Ordering;

use dcap_qvl::{SvnComponent, SvnShortfall, TcbInfo, TcbLevel, TcbStatus};

use super::{collateral::Collateral, quote::TdQuote, short};
use crate::{Code, Reason};

/// Why no level, or a revoked one, is this platform's. `None` if that is not what is wrong.
pub(super) fn refusal(quote: &TdQuote<'_>, collateral: &Collateral) -> Option<Reason> {
    let launch = quote.report.tee_tcb_svn;
    let current = quote.later.map(|r| r.tee_tcb_svn2);
    std::iter::once(&launch)
        .chain(&current)
        .find_map(|svn| platform(collateral, svn).or_else(|| module(&collateral.tcb, svn)))
        .or_else(|| quoting_enclave(quote.qe_svn(), collateral))
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

fn platform(collateral: &Collateral, svn: &[u8; 16]) -> Option<Reason> {
    let levels = &collateral.tcb.tcb_levels;
    let level = levels.iter().filter(|l| missing(collateral, svn, l).is_some_and(|m| m.is_empty())).max_by(newer);
    match level {
        Some(level) if level.tcb_status == TcbStatus::Revoked => revoked("the platform", &level.advisory_ids),
        Some(_) => None,
        None => {
            let Some(oldest) = levels.iter().min_by(newer) else {
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
