//! HTTP to hosts that the worker's policy names, and to no other: no redirect is followed, no proxy of the environment is used.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use eider_attest::Reason;
use serde::Deserialize;
use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode, Uri};

/// How long one request may take, from the name's look-up to the last byte.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of the largest answer; Intel's largest has about 20,000.
const BODY_MAX: u64 = 128 << 10;
/// Bytes of the headers of an answer; Intel's hold chains of certificates of about 3,000.
const HEADERS_MAX: usize = 32 << 10;

/// A host that collateral is fetched from: `https://NAME` or `https://NAME:PORT`. `http` is for services on this machine, by address
/// alone.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(try_from = "String")]
pub struct Host(String);

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let refused = |why: &str| Err(format!("{text:?} is no host to fetch from: {why}"));
        let Ok(uri) = text.parse::<Uri>() else { return refused("write it as https://NAME or https://NAME:PORT") };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return refused("it must begin with https://");
        };
        let address = authority.host().trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match scheme {
            "https" => {}
            "http" if address.is_ok_and(|ip| ip.is_loopback()) => {}
            _ => return refused("only https is spoken with other machines"),
        }
        if uri.path() != "/" || uri.query().is_some() || authority.as_str().contains('@') {
            return refused("a path, a query or a user has no place in it");
        }
        Ok(Self(format!("{scheme}://{authority}")))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why collateral was not renewed: cause and fix.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No answer, or not all of one.
    #[error(
        "{url}: {source}; see that this machine reaches that host and its names resolve, or name a mirror in `[collateral]`"
    )]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Why not.
        source: Box<ureq::Error>,
    },
    /// Another status than 200.
    #[error("{url}: the answer is {status}{}", advice(*.status))]
    Status {
        /// What was asked for.
        url: String,
        /// It.
        status: StatusCode,
    },
    /// Not of the form that was asked for.
    #[error("{url}: {why}; see that `[collateral]` names the vendor's service, or a mirror that repeats its answers")]
    Malformed {
        /// What was asked for.
        url: String,
        /// Why it is none.
        why: String,
    },
    /// It does not hold.
    #[error(
        "what was fetched does not hold for this machine ({0}); see its clock, and that `[collateral]` names the vendor's service"
    )]
    Refused(Reason),
    /// What is held is newer.
    #[error(
        "what was fetched is older than what is held ({0}); a cache or mirror before the vendor's service is behind"
    )]
    Older(String),
    /// The evidence does not say what to fetch.
    #[error("nothing can be fetched for this machine's evidence: {0}")]
    Unasked(Reason),
    /// A cloud's own key, whose certificate the cloud hands out.
    #[error(
        "the report is signed by its cloud's key (VLEK), whose certificate is for the host to hand out, and it has not: ask its operator"
    )]
    CloudsKey,
    /// The device.
    #[error("this machine makes no evidence that collateral could be fetched for: {0}")]
    Device(String),
}

fn advice(status: StatusCode) -> &'static str {
    match status.as_u16() {
        300..400 => ", a redirect, and none is followed: name the host that answers in `[collateral]`",
        404 => ": the vendor does not know this machine with this firmware, or `[collateral]` names another service",
        429 => ": it was asked too often from this address, perhaps by others; it is asked again later",
        500.. => ": a fault of the service; it is asked again later",
        _ => "; see that `[collateral]` names the vendor's service",
    }
}

/// A client of such hosts.
#[derive(Debug)]
pub(super) struct Client(Agent);

/// What came, with status 200.
pub(super) struct Answer {
    /// What was asked for.
    url: String,
    headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Client {
    pub(super) fn new(patience: Duration) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(patience))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .max_response_header_size(HEADERS_MAX)
            .proxy(None)
            .user_agent(concat!("eider/", env!("CARGO_PKG_VERSION")));
        Self(config.build().new_agent())
    }

    /// Waits for the answer, for as long as one request may take.
    pub(super) fn get(&self, host: &Host, path: &str) -> Result<Answer, FetchError> {
        let url = format!("{host}{path}");
        let unreachable = |source| FetchError::Unreachable { url: url.clone(), source: Box::new(source) };
        let answer = self.0.get(&url).call().map_err(unreachable)?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(FetchError::Status { url, status });
        }
        let (parts, mut body) = answer.into_parts();
        let body = body.with_config().limit(BODY_MAX).read_to_vec().map_err(unreachable)?;
        Ok(Answer { url, headers: parts.headers, body })
    }
}

impl Answer {
    /// A header with bytes written as in addresses.
    pub(super) fn header(&self, name: &str) -> Result<String, FetchError> {
        let value = self.headers.get(name).ok_or_else(|| self.malformed(format!("it has no header {name}")))?;
        let text = percent_encoding::percent_decode(value.as_bytes()).decode_utf8();
        Ok(text.map_err(|_| self.malformed(format!("header {name} is not text")))?.into_owned())
    }

    pub(super) fn malformed(&self, why: impl Into<String>) -> FetchError {
        FetchError::Malformed { url: self.url.clone(), why: why.into() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_of_https_and_of_http_on_this_machine_alone() {
        for (text, host) in [
            ("https://kdsintf.amd.com", "https://kdsintf.amd.com"),
            ("https://api.trustedservices.intel.com/", "https://api.trustedservices.intel.com"),
            ("https://10.0.0.1:8081", "https://10.0.0.1:8081"),
            ("http://127.0.0.1:80", "http://127.0.0.1:80"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(Host::try_from(text.to_string()).unwrap().to_string(), host);
        }
        for text in [
            "",
            "kdsintf.amd.com",
            "http://kdsintf.amd.com",
            "http://localhost:80",
            "http://127.0.0.1.example.org",
            "http://[::1",
            "ftp://127.0.0.1",
            "file:///etc/passwd",
            "https://user@kdsintf.amd.com",
            "https://kdsintf.amd.com/vcek",
            "https://kdsintf.amd.com?x",
            "https://",
            "https://a b",
        ] {
            assert!(Host::try_from(text.to_string()).is_err(), "{text}");
        }
    }
}
