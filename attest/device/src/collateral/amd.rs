//! Certificates and revocation lists of SEV-SNP, from AMD's key distribution service. It allows an address one certificate of a
//! chip in about 10 s, so what is held of these is not asked for again.

use eider_attest::Root;
use eider_attest::snp::Asked;
use serde::Deserialize;

use super::client::{Client, FetchError, Host};

/// AMD's roots (ARK), by SHA-256 of their DER: those that the shipped policies pin, and Milan's, of the chain in
/// `attest/core/tests/vectors/snp`. All are in the chains of go-sev-guest (`verify/trust`) and of the crate `sev`, as AMD's service
/// hands them out.
const ROOTS: [(&str, &str); 3] = [
    ("AMD ARK-Milan", "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd"),
    ("AMD ARK-Genoa", "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1"),
    ("AMD ARK-Turin", "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a"),
];

/// SHA-256 of a root certificate's DER, hexadecimal.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct RootHash(#[serde(with = "hex::serde")] pub [u8; 32]);

/// Roots that are built in.
pub(super) fn built_in() -> Vec<Root> {
    let root = |(name, digits): (&str, &str)| {
        let mut sha256 = [0; 32];
        hex::decode_to_slice(digits, &mut sha256).expect("each has 64 hexadecimal digits");
        Root { name: name.into(), sha256, from: "what is built in".into() }
    };
    ROOTS.map(root).into()
}

/// Roots that a policy names.
pub(super) fn named(hashes: &[RootHash]) -> Vec<Root> {
    let root =
        |hash: &RootHash| Root { name: "AMD's".into(), sha256: hash.0, from: "`amd_roots` of the policy".into() };
    hashes.iter().map(root).collect()
}

/// Fetches what is lacking for this report, whose own certificate may be at hand: the revocation list alone, if there are
/// `certificates` that hold. New certificates are worth having without it; then it comes with why there is none.
pub(super) fn fetch(
    client: &Client,
    host: &Host,
    report: &[u8],
    leaf: Option<&Vec<u8>>,
    certificates: Option<Vec<Vec<u8>>>,
) -> Result<(Vec<Vec<u8>>, Option<FetchError>), FetchError> {
    let asked = Asked::of(report, leaf.map(Vec::as_slice)).map_err(FetchError::Unasked)?;
    if let Some(mut endorsements) = certificates {
        endorsements.push(client.get(host, &asked.list)?.body);
        return Ok((endorsements, None));
    }
    let leaf = match &asked.certificate {
        Some(path) => client.get(host, path)?.body,
        None => leaf.cloned().ok_or(FetchError::CloudsKey)?,
    };
    let answer = client.get(host, &asked.issuers)?;
    let issuers = pem::parse_many(&answer.body).map_err(|e| answer.malformed(e.to_string()))?;
    let mut endorsements: Vec<_> =
        std::iter::once(leaf).chain(issuers.into_iter().map(pem::Pem::into_contents)).collect();
    let lacks = client.get(host, &asked.list).map(|answer| endorsements.push(answer.body)).err();
    Ok((endorsements, lacks))
}

/// All but revocation lists.
pub(super) fn certificates(endorsements: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (certificates, _) = eider_attest::chain::split(endorsements.iter().map(Vec::as_slice));
    certificates.into_iter().map(<[u8]>::to_vec).collect()
}
