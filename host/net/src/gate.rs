//! Who may connect: a count of handshakes and connections, in all, by place and by node, so that no peer and no network takes
//! the places of the others. Pure: it sees addresses and node ids and knows no socket.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use eider_protocol::NodeId;
use parking_lot::Mutex;

/// The network that an address belongs to, as far as one stranger usually owns it: IPv4 /24, IPv6 /48.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Prefix {
    /// The first 24 bits. An IPv4 address that is written as an IPv6 one belongs here.
    V4([u8; 3]),
    /// The first 48 bits.
    V6([u8; 6]),
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4([a, b, c]) => write!(f, "{a}.{b}.{c}.0/24"),
            Self::V6([a, b, c, d, e, g]) => {
                let segment = |high: u8, low: u8| u16::from_be_bytes([high, low]);
                write!(f, "{:x}:{:x}:{:x}::/48", segment(*a, *b), segment(*c, *d), segment(*e, *g))
            }
        }
    }
}

/// The prefix of an address.
pub fn prefix(addr: SocketAddr) -> Prefix {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            Prefix::V4([a, b, c])
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, ..] = ip.octets();
            Prefix::V6([a, b, c, d, e, f])
        }
    }
}

/// How many of each. All are counted together with the handshakes under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateLimits {
    /// Connections: times the narrow windows, this is the memory that strangers may take.
    pub connections: usize,
    /// Connections of one prefix: a quarter, so that it takes more than three networks to keep others out.
    pub per_prefix: usize,
    /// Connections of one node: programs of one user on one machine share its key.
    pub per_node: usize,
    /// Handshakes under way from which on an address must first show that it is not forged (a Retry costs one round trip).
    pub retry: usize,
    /// The same for one prefix: forged addresses of a network cannot keep that network out.
    pub retry_per_prefix: usize,
    /// Handshakes under way: each costs two signatures and a check, so about a tenth of a second of one core for all.
    pub handshakes: usize,
    /// The same for one prefix.
    pub handshakes_per_prefix: usize,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            per_prefix: 256,
            per_node: 16,
            retry: 64,
            retry_per_prefix: 16,
            handshakes: 256,
            handshakes_per_prefix: 64,
        }
    }
}

/// Counts who is in. Cloning gives another handle to the same count.
#[derive(Clone, Debug)]
pub struct Gate {
    counts: Arc<Mutex<Counts>>,
    limits: GateLimits,
}

#[derive(Debug, Default)]
struct Counts {
    connections: usize,
    prefixes: HashMap<Prefix, usize>,
    nodes: HashMap<NodeId, usize>,
    handshakes: usize,
    handshaking: HashMap<Prefix, usize>,
}

/// What to do with one who wants to connect.
#[derive(Debug)]
pub enum Answer {
    /// Make the handshake, and hold this meanwhile.
    Admit(Handshake),
    /// Let the address show that it is real.
    Retry,
    /// No.
    Refuse,
}

/// This node has as many connections as one may have. Nobody's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has too many connections")]
pub struct Full;

/// A place among the connections, kept while it lives.
#[derive(Debug)]
struct Place {
    gate: Gate,
    prefix: Prefix,
    node: Option<NodeId>,
}

/// A handshake under way. Dropping it gives its place back.
#[derive(Debug)]
pub struct Handshake {
    place: Option<Place>,
}

/// A connection whose node is known. Dropping it gives its place back.
#[derive(Debug)]
pub struct Admitted {
    _place: Place,
}

impl Gate {
    /// A gate that nobody has passed.
    pub fn new(limits: GateLimits) -> Self {
        Self { counts: Arc::default(), limits }
    }

    /// Somebody at `address` wants to connect; `validated` says whether it showed that it receives what is sent there.
    pub fn arrive(&self, address: SocketAddr, validated: bool) -> Answer {
        let (prefix, limits) = (prefix(address), &self.limits);
        let mut counts = self.counts.lock();
        let of = |map: &HashMap<Prefix, usize>| map.get(&prefix).copied().unwrap_or(0);
        let handshaking = of(&counts.handshaking);
        if counts.connections >= limits.connections || counts.handshakes >= limits.handshakes {
            return Answer::Refuse;
        }
        // Before the prefix's own limits, which forged addresses must not reach.
        if !validated && (counts.handshakes >= limits.retry || handshaking >= limits.retry_per_prefix) {
            return Answer::Retry;
        }
        if of(&counts.prefixes) >= limits.per_prefix || handshaking >= limits.handshakes_per_prefix {
            return Answer::Refuse;
        }
        counts.connections += 1;
        counts.handshakes += 1;
        *counts.prefixes.entry(prefix).or_default() += 1;
        *counts.handshaking.entry(prefix).or_default() += 1;
        Answer::Admit(Handshake { place: Some(Place { gate: self.clone(), prefix, node: None }) })
    }

    /// Connections and handshakes under way.
    pub fn connections(&self) -> usize {
        self.counts.lock().connections
    }

    /// Handshakes under way.
    pub fn handshakes(&self) -> usize {
        self.counts.lock().handshakes
    }
}

impl Handshake {
    /// The handshake is done, and this is who it was.
    ///
    /// # Errors
    /// [`Full`]; the place is given back.
    pub fn proven(mut self, node: NodeId) -> Result<Admitted, Full> {
        let Some(mut place) = self.place.take() else { return Err(Full) };
        let gate = place.gate.clone();
        let mut counts = gate.counts.lock();
        counts.handshake_ends(place.prefix);
        let of_node = counts.nodes.entry(node).or_default();
        let full = *of_node >= gate.limits.per_node;
        if !full {
            *of_node += 1;
            place.node = Some(node);
        }
        // A place that is dropped here takes the lock.
        drop(counts);
        if full { Err(Full) } else { Ok(Admitted { _place: place }) }
    }
}

impl Counts {
    fn handshake_ends(&mut self, prefix: Prefix) {
        self.handshakes -= 1;
        less(&mut self.handshaking, prefix);
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            place.gate.counts.lock().handshake_ends(place.prefix);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.gate.counts.lock();
        counts.connections -= 1;
        less(&mut counts.prefixes, self.prefix);
        if let Some(node) = self.node {
            less(&mut counts.nodes, node);
        }
    }
}

/// One less; what is none is forgotten.
fn less<K: Eq + Hash>(map: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut count) = map.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 7440)
    }

    /// An address of the n-th network.
    fn network(n: usize) -> SocketAddr {
        address(&format!("10.{}.{}.7", n / 256, n % 256))
    }

    fn node(n: u8) -> NodeId {
        NodeId::from_bytes([n; 32])
    }

    fn admitted(gate: &Gate, at: SocketAddr, who: u8) -> Option<Admitted> {
        match gate.arrive(at, true) {
            Answer::Admit(handshake) => handshake.proven(node(who)).ok(),
            _ => None,
        }
    }

    fn nothing_is_left(gate: &Gate) -> bool {
        let c = gate.counts.lock();
        (c.connections, c.handshakes) == (0, 0)
            && c.prefixes.is_empty()
            && c.nodes.is_empty()
            && c.handshaking.is_empty()
    }

    #[test]
    fn a_prefix_is_what_a_stranger_owns() {
        assert_eq!(prefix(address("192.0.2.1")), prefix(address("192.0.2.254")));
        assert_ne!(prefix(address("192.0.2.1")), prefix(address("192.0.3.1")));
        assert_eq!(prefix(address("192.0.2.77")).to_string(), "192.0.2.0/24");
        assert_eq!(prefix(address("2001:db8:1:2::1")).to_string(), "2001:db8:1::/48");
        assert_eq!(prefix(address("::ffff:192.0.2.9")), prefix(address("192.0.2.1")));
        assert_eq!(prefix(address("2001:db8:1:2::1")), prefix(address("2001:db8:1:ffff::2")));
        assert_ne!(prefix(address("2001:db8:1::1")), prefix(address("2001:db8:2::1")));
    }

    #[test]
    fn a_thousand_connections_of_one_identity_leave_room_for_others() {
        let gate = Gate::new(GateLimits::default());
        let held: Vec<_> = (0..1_000).filter_map(|n| admitted(&gate, network(n), 1)).collect();
        assert_eq!(held.len(), 16);
        assert!(admitted(&gate, network(0), 2).is_some());
        drop(held);
        assert!(nothing_is_left(&gate));
        assert!(admitted(&gate, network(0), 1).is_some());
    }

    #[test]
    fn a_thousand_connections_of_one_prefix_leave_room_for_others() {
        let gate = Gate::new(GateLimits::default());
        let held: Vec<_> = (0..=u8::MAX)
            .flat_map(|who| std::iter::repeat_n(who, 4))
            .filter_map(|who| admitted(&gate, network(0), who))
            .collect();
        assert_eq!(held.len(), 256);
        assert!(admitted(&gate, network(1), 0).is_some());
        drop(held);
        assert!(nothing_is_left(&gate));
    }

    #[test]
    fn all_together_are_bounded() {
        let gate = Gate::new(GateLimits::default());
        let held: Vec<_> = (0..2_000).filter_map(|n| admitted(&gate, network(n), (n % 200) as u8)).collect();
        assert_eq!(held.len(), 1_024);
        assert_eq!(gate.connections(), 1_024);
        drop(held);
        assert!(nothing_is_left(&gate));
    }

    #[test]
    fn forged_addresses_are_asked_to_show_themselves_and_keep_nobody_out() {
        let gate = Gate::new(GateLimits::default());
        let admit = |at, validated| match gate.arrive(at, validated) {
            Answer::Admit(handshake) => Ok(handshake),
            Answer::Retry => Err("retry"),
            Answer::Refuse => Err("refuse"),
        };
        let mut held: Vec<_> = (0..1_000).filter_map(|_| admit(network(0), false).ok()).collect();
        assert_eq!(held.len(), 16);
        assert_eq!(admit(network(0), false).unwrap_err(), "retry");
        assert!(admit(network(0), true).is_ok());
        held.extend((1..1_000).filter_map(|n| admit(network(n), false).ok()));
        assert_eq!(held.len(), 64);
        assert!(admit(network(0), true).is_ok());
        // Real addresses of one network can neither take all handshakes.
        held.extend((0..1_000).filter_map(|_| admit(network(0), true).ok()));
        assert_eq!(held.len(), 64 + 48);
        assert_eq!(admit(network(0), true).unwrap_err(), "refuse");
        assert!(admit(network(1), true).is_ok());
        held.extend((0..1_000).filter_map(|n| admit(network(n), true).ok()));
        assert_eq!(gate.handshakes(), 256);
        assert_eq!(admit(network(999), true).unwrap_err(), "refuse");
        drop(held);
        assert!(nothing_is_left(&gate));
    }

    #[test]
    fn a_handshake_gives_its_place_back_however_it_ends() {
        let gate = Gate::new(GateLimits { per_node: 1, ..GateLimits::default() });
        let Answer::Admit(failed) = gate.arrive(network(0), false) else { panic!("no room") };
        drop(failed);
        assert!(nothing_is_left(&gate));
        let first = admitted(&gate, network(0), 1).unwrap();
        assert_eq!((gate.connections(), gate.handshakes()), (1, 0));
        assert!(admitted(&gate, network(1), 1).is_none());
        assert_eq!((gate.connections(), gate.handshakes()), (1, 0));
        drop(first);
        assert!(nothing_is_left(&gate));
    }
}
