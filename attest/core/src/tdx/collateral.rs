//! Collateral: what Intel says of the platform, and whether Intel says it.

use std::str::FromStr;

use dcap_qvl::{
    QeIdentity, QuoteCollateralV3, TcbInfo,
    intel::{PckExtension, parse_pck_extension},
};

use super::{
    chain::{Chain, Crl, Dated},
    quote::TdQuote,
    short,
};
use crate::{Accept, Code, Findings, Reason};

/// Bytes of the largest collateral; Intel's has about 25,000, most of it revoked serial numbers.
const COLLATERAL_MAX: usize = 128 << 10;

/// Collateral whose parts are parsed. [`Collateral::check`] says whether they are signed.
pub(super) struct Collateral {
    /// As it came.
    pub(super) whole: QuoteCollateralV3,
    /// Security versions of the platform, and what Intel says of each.
    pub(super) tcb: TcbInfo,
    /// The same of the quoting enclave.
    pub(super) qe: QeIdentity,
    /// Of the platform's key.
    pub(super) pck: Chain,
    /// What that chain's first certificate says of the platform.
    pub(super) platform: PckExtension,
    tcb_chain: Chain,
    qe_chain: Chain,
    root_crl: Crl,
    pck_crl: Crl,
}

fn invalid(why: impl Into<String>) -> Reason {
    Reason::new(Code::CollateralInvalid, why)
}

impl Collateral {
    pub(super) fn parse(bytes: &[u8], quote: &TdQuote<'_>) -> Result<Self, Reason> {
        if bytes.len() > COLLATERAL_MAX {
            return Err(invalid(format!("{} bytes; at most {COLLATERAL_MAX} are read", bytes.len())));
        }
        let json = |what: &str, e: serde_json::Error| invalid(format!("{what}: {}", short(&e.to_string())));
        let whole: QuoteCollateralV3 = serde_json::from_slice(bytes).map_err(|e| json("collateral", e))?;
        let tcb: TcbInfo = serde_json::from_str(&whole.tcb_info).map_err(|e| json("TCB info", e))?;
        let qe: QeIdentity = serde_json::from_str(&whole.qe_identity).map_err(|e| json("QE identity", e))?;
        let stapled = whole.pck_certificate_chain.as_deref();
        let stapled =
            stapled.map(|text| Chain::parse("PCK certificates of the collateral", text.as_bytes())).transpose()?;
        let pck = match (quote.chain(), stapled) {
            (Ok(text), stapled) => {
                let pck = Chain::parse("PCK certificates of the quote", text)?;
                if stapled.is_some_and(|s| !s.same(&pck)) {
                    return Err(invalid("its PCK certificates are not those of the quote"));
                }
                pck
            }
            (Err(_), Some(stapled)) => stapled,
            (Err(kind), None) => {
                let detail =
                    format!("the quote has certification data of type {kind}: PCK certificates must be stapled");
                return Err(Reason::new(Code::CollateralMissing, detail));
            }
        };
        // The verifier below takes the revocation list's issuer from the platform's chain and never reads this one.
        let crl_chain = Chain::parse("issuer of the PCK revocation list", whole.pck_crl_issuer_chain.as_bytes())?;
        if !crl_chain.certs().map(|c| &c.der).eq(pck.above.iter().map(|c| &c.der)) {
            return Err(invalid("the PCK revocation list has another issuer than the PCK certificate"));
        }
        let platform = parse_pck_extension(&pck.leaf.der)
            .map_err(|e| Reason::new(Code::ChainInvalid, format!("PCK certificate: {}", short(&format!("{e:#}")))))?;
        let tcb_chain = Chain::parse("signer of the TCB info", whole.tcb_info_issuer_chain.as_bytes())?;
        let qe_chain = Chain::parse("signer of the QE identity", whole.qe_identity_issuer_chain.as_bytes())?;
        let root_crl = Crl::parse("root revocation list", &whole.root_ca_crl)?;
        let pck_crl = Crl::parse("PCK revocation list", &whole.pck_crl)?;
        Ok(Self { whole, tcb, qe, pck, platform, tcb_chain, qe_chain, root_crl, pck_crl })
    }

    /// The one root of all chains, DER, and whether the policy pins it; if not, that is a finding.
    pub(super) fn root(&self, accept: &Accept, findings: &mut Findings) -> Result<(Vec<u8>, bool), Reason> {
        let root = self.pck.root()?;
        for chain in [&self.tcb_chain, &self.qe_chain] {
            if chain.root()?.der != root.der {
                return Err(invalid("its root is not that of the PCK certificate"));
            }
        }
        let hash = root.sha256();
        let pinned = accept.roots.iter().any(|r| r.sha256 == hash);
        if !pinned {
            let detail = format!("the chains end in {}, SHA-256 {}", root.name(), hex::encode(hash));
            findings.reason(Code::RootUnpinned, detail);
        }
        Ok((root.der.clone(), pinned))
    }

    /// Everything is signed by whom it should be, and is about this platform; who is revoked is a finding.
    ///
    /// The verifier of `dcap-qvl` checks this again, and it has the last word; but it says why in prose alone.
    pub(super) fn check(&self, findings: &mut Findings) -> Result<(), Reason> {
        let chains = [&self.pck, &self.tcb_chain, &self.qe_chain];
        for chain in chains {
            chain.check()?;
        }
        let certs = || chains.into_iter().flat_map(Chain::certs);
        if let (Some(issuer), Some(root)) = (self.pck.above.first(), self.pck.above.last()) {
            self.root_crl.check(root, certs(), findings)?;
            self.pck_crl.check(issuer, certs(), findings)?;
        }
        let whole = &self.whole;
        if !self.tcb_chain.leaf.signed(whole.tcb_info.as_bytes(), &whole.tcb_info_signature) {
            return Err(invalid("TCB info: the signature is not right"));
        }
        if !self.qe_chain.leaf.signed(whole.qe_identity.as_bytes(), &whole.qe_identity_signature) {
            return Err(invalid("QE identity: the signature is not right"));
        }
        if self.tcb.id != "TDX" || self.tcb.version < 3 || self.qe.id != "TD_QE" {
            let (tcb, qe) = (short(&self.tcb.id), short(&self.qe.id));
            return Err(invalid(format!("TCB info of {tcb} and QE identity of {qe}; those of TDX are wanted")));
        }
        let (fmspc, pce) = (hex::encode(self.platform.fmspc), hex::encode(&self.platform.pce_id));
        if !self.tcb.fmspc.eq_ignore_ascii_case(&fmspc) || !self.tcb.pce_id.eq_ignore_ascii_case(&pce) {
            let (other, other_pce) = (short(&self.tcb.fmspc), short(&self.tcb.pce_id));
            let detail = format!("TCB info of platform {other}, PCE {other_pce}; this is {fmspc}, PCE {pce}");
            return Err(invalid(detail));
        }
        Ok(())
    }

    /// Numbers of the root's list and of the PCK certificates'.
    pub(super) fn list_numbers(&self) -> Result<(u64, u64), Reason> {
        Ok((self.root_crl.number()?, self.pck_crl.number()?))
    }

    /// When each part is valid.
    pub(super) fn dates(&self) -> Result<Vec<Dated>, Reason> {
        let mut dates = vec![
            stated("TCB info", &self.tcb.issue_date, &self.tcb.next_update)?,
            stated("QE identity", &self.qe.issue_date, &self.qe.next_update)?,
            self.root_crl.dates()?,
            self.pck_crl.dates()?,
        ];
        for dated in [&self.pck, &self.tcb_chain, &self.qe_chain].into_iter().flat_map(Chain::dates) {
            if !dates.contains(&dated) {
                dates.push(dated);
            }
        }
        Ok(dates)
    }
}

fn stated(what: &str, from: &str, until: &str) -> Result<Dated, Reason> {
    let seconds = |text: &str| {
        let date = der::DateTime::from_str(text).ok();
        let seconds = date.and_then(|d| i64::try_from(d.unix_duration().as_secs()).ok());
        seconds.ok_or_else(|| invalid(format!("{what}: {} is not a date", short(text))))
    };
    Ok(Dated { what: what.into(), code: Code::CollateralStale, from: seconds(from)?, until: seconds(until)? })
}
