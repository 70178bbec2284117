//! Certificates and revocation lists of SEV-SNP, from AMD's key distribution service. It allows an address one certificate of a
//! chip in about 10 s, so what is held of these is not asked for again.

use eider_attest::snp::Asked;

use super::client::{Client, FetchError, Host};

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
