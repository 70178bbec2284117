//! What Intel's certification service is asked for the sake of one quote, and collateral made of its answers.

use dcap_qvl::{
    QuoteCollateralV3,
    config::{ParsedCert, X509Codec},
    intel::parse_pck_extension,
    x509::X509CertBackend,
};

use super::{chain::Chain, quote::TdQuote, short};
use crate::{Code, Reason};

/// Which platform, as the service names them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Platform {
    /// Kind of platform, hexadecimal.
    pub fmspc: String,
    /// Issuer of its certificates: `processor` or `platform`.
    pub ca: &'static str,
}

impl Platform {
    /// Of the certificates in a quote.
    ///
    /// # Errors
    /// Bytes that are no such quote; [`Code::CollateralMissing`] if it does not have its certificates inside.
    pub fn of(quote: &[u8]) -> Result<Self, Reason> {
        let quote = TdQuote::parse(quote)?;
        let chain = quote.chain().map_err(|kind| {
            let why = format!("the quote has certification data of type {kind} and no PCK certificates");
            Reason::new(Code::CollateralMissing, why)
        })?;
        let leaf = Chain::parse("PCK certificates of the quote", chain)?.leaf.der;
        let invalid = |why: String| Reason::new(Code::ChainInvalid, format!("PCK certificate: {}", short(&why)));
        let platform = parse_pck_extension(&leaf).map_err(|e| invalid(format!("{e:#}")))?;
        let certificate = X509CertBackend::from_der(&leaf).map_err(|e| invalid(format!("{e:#}")))?;
        let ca = certificate.pck_ca().ok_or_else(|| invalid("its issuer is not known".into()))?;
        Ok(Self { fmspc: hex::encode_upper(platform.fmspc), ca: ca.as_id_str() })
    }
}

/// What the service says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answers {
    /// TCB info as text, exactly as signed.
    pub tcb_info: String,
    /// Its signature, 64 bytes.
    pub tcb_info_signature: Vec<u8>,
    /// Who has signed it, PEM.
    pub tcb_info_issuers: String,
    /// Identity of the quoting enclave as text, exactly as signed.
    pub qe_identity: String,
    /// Its signature, 64 bytes.
    pub qe_identity_signature: Vec<u8>,
    /// Who has signed it, PEM.
    pub qe_identity_issuers: String,
    /// Revocation list of PCK certificates, DER.
    pub pck_list: Vec<u8>,
    /// Who has signed it, PEM.
    pub pck_list_issuers: String,
    /// Revocation list of the root, DER.
    pub root_list: Vec<u8>,
}

impl Answers {
    /// The endorsement that a quote wants.
    pub fn collateral(self) -> Vec<u8> {
        let whole = QuoteCollateralV3 {
            tcb_info: self.tcb_info,
            tcb_info_signature: self.tcb_info_signature,
            tcb_info_issuer_chain: self.tcb_info_issuers,
            qe_identity: self.qe_identity,
            qe_identity_signature: self.qe_identity_signature,
            qe_identity_issuer_chain: self.qe_identity_issuers,
            pck_crl: self.pck_list,
            pck_crl_issuer_chain: self.pck_list_issuers,
            root_ca_crl: self.root_list,
            pck_certificate_chain: None,
        };
        serde_json::to_vec(&whole).expect("text and bytes have a JSON form")
    }
}
