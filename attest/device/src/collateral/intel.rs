//! Collateral of TDX, from Intel's provisioning certification service ("API Documentation", version 4) and, for the root's
//! revocation list, from where Intel's certificates say that it is.

use eider_attest::tdx::{Answers, Platform};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::{Answer, Client, FetchError, Host};

/// What Intel signs is text, to be kept to the byte.
#[derive(Deserialize)]
struct Signed<'a> {
    #[serde(borrow, alias = "tcbInfo", alias = "enclaveIdentity")]
    signed: &'a RawValue,
    #[serde(with = "hex::serde")]
    signature: Vec<u8>,
}

/// Fetches all of it for the platform of this quote. The newest evaluation is asked for (`update=early`): what the service says unless
/// asked (`standard`) is behind it by up to a year.
pub(super) fn fetch(client: &Client, service: &Host, root: &Host, quote: &[u8]) -> Result<Vec<u8>, FetchError> {
    let Platform { fmspc, ca } = Platform::of(quote).map_err(FetchError::Unasked)?;
    let tcb = client.get(service, &format!("/tdx/certification/v4/tcb?fmspc={fmspc}&update=early"))?;
    let qe = client.get(service, "/tdx/certification/v4/qe/identity?update=early")?;
    let list = client.get(service, &format!("/sgx/certification/v4/pckcrl?ca={ca}&encoding=der"))?;
    let (tcb_info, tcb_info_signature) = signed(&tcb)?;
    let (qe_identity, qe_identity_signature) = signed(&qe)?;
    let answers = Answers {
        tcb_info,
        tcb_info_signature,
        tcb_info_issuers: tcb.header("TCB-Info-Issuer-Chain")?,
        qe_identity,
        qe_identity_signature,
        qe_identity_issuers: qe.header("SGX-Enclave-Identity-Issuer-Chain")?,
        pck_list_issuers: list.header("SGX-PCK-CRL-Issuer-Chain")?,
        pck_list: list.body,
        root_list: client.get(root, "/IntelSGXRootCA.der")?.body,
    };
    Ok(answers.collateral())
}

fn signed(answer: &Answer) -> Result<(String, Vec<u8>), FetchError> {
    let parsed: Signed<'_> = serde_json::from_slice(&answer.body).map_err(|e| answer.malformed(e.to_string()))?;
    Ok((parsed.signed.get().into(), parsed.signature))
}
