//! What AMD's key distribution service is asked for the sake of one report: paths below its host ("Versioned Chip Endorsement Key
//! (VCEK) Certificate and KDS Interface Specification", 57230; Turin's parameters as Google's go-sev-guest writes them).

use super::{PRODUCT, Product, Report, text};
use crate::chain::Parsed;
use crate::{Code, Reason};

/// Names of the security versions, in the order of [`Product::versions`].
const PARAMETERS: [&str; 5] = ["blSPL", "teeSPL", "snpSPL", "ucodeSPL", "fmcSPL"];

/// Paths for one report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Certificate of the chip's own key, DER. None is given out of a cloud's key (VLEK): its guests have it from their host.
    pub certificate: Option<String>,
    /// Its issuers, PEM.
    pub issuers: String,
    /// Their revocation list, DER.
    pub list: String,
}

impl Asked {
    /// For a report; `leaf` is the certificate that is at hand, if one is: reports of version 2 do not say of which line of
    /// processors they are.
    ///
    /// # Errors
    /// What the report does not say.
    pub fn of(report: &[u8], leaf: Option<&[u8]>) -> Result<Self, Reason> {
        let report = Report::parse(report)?;
        let unknown = |why: &str| Reason::new(Code::ProductRefused, why);
        let line = match report.cpuid() {
            Some(cpuid) => {
                ["Milan", "Genoa", "Turin"].into_iter().find(|line| Product::of(line, Some(cpuid)).is_some())
            }
            None => {
                let leaf = leaf.and_then(|der| Parsed::new(der).ok());
                let named = leaf.as_ref().and_then(|leaf| text(leaf, PRODUCT)).unwrap_or_default();
                ["Milan", "Genoa", "Turin"].into_iter().find(|line| named.split('-').next() == Some(*line))
            }
        };
        let line = line.ok_or_else(|| unknown("neither report nor certificate says of which processor it is"))?;
        let product = Product::of(line, report.cpuid()).ok_or_else(|| unknown("a processor that is not known"))?;
        let by_vlek = report.is_by_vlek().map_err(|key| unknown(&format!("signed by a key of kind {key}")))?;
        let base = format!("/{}/v1/{line}", if by_vlek { "vlek" } else { "vcek" });
        let certificate = (!by_vlek).then(|| {
            let chip = if product.has_fmc() { &report.chip()[..8] } else { report.chip() };
            let reported = report.bytes::<8>(0x180);
            let versions = product.versions().into_iter().zip(PARAMETERS);
            let versions: Vec<_> = versions.map(|((_, at, ..), name)| format!("{name}={}", reported[at])).collect();
            format!("{base}/{}?{}", hex::encode(chip), versions.join("&"))
        });
        if certificate.is_some() && report.chip().iter().all(|byte| *byte == 0) {
            let why = "the host hides the chip's id from its guests (MASK_CHIP_ID), so that nobody else can give out its certificate";
            return Err(Reason::new(Code::MachineUnknown, why));
        }
        Ok(Self { certificate, issuers: format!("{base}/cert_chain"), list: format!("{base}/crl") })
    }
}
