//! A worker that may be asked.

use std::str::FromStr;

use eider_protocol::NodeId;

/// A worker that may be asked: `host:port`, or `host:port#node_id` to accept only that node there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// `host:port`.
    pub address: String,
    /// Who it must be.
    pub node: Option<NodeId>,
}

impl FromStr for Candidate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, node) = match text.split_once('#') {
            Some((address, node)) => (address, Some(node.parse().map_err(|e| format!("{text:?}: {e}"))?)),
            None => (text, None),
        };
        let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(_))) {
            return Err(format!("{text:?} is not HOST:PORT or HOST:PORT#NODE_ID"));
        }
        Ok(Self { address: address.into(), node })
    }
}
