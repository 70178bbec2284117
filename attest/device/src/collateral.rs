//! Collateral that renews itself: what vendors say of a machine with SEV-SNP or TDX, fetched before it is stale, and stapled.
//!
//! A [`Keeper`] has what was fetched, in memory and in one file. [`Keeper::staple`] answers at once with the best that is at hand:
//! what the host or the owner gave, or what was fetched. [`Keeper::renew`] waits for the network, on a thread of its own. What
//! comes is read by the verifiers that requesters have ([`eider_attest::stapled`]) before it is kept; what does not hold for this
//! machine's evidence, does not end in a root that is pinned here (AMD's) or in the quote (Intel's), or is older than what is held, is
//! refused. Who trusts it is the requester's to say: a service that lies can at worst see to it that there is nothing new.
//!
//! Tried against genuine collateral and a laboratory's, from services on this machine. The vendors' own were never asked, and
//! machines with SEV-SNP or TDX not at hand.

mod amd;
mod client;
mod disk;
mod intel;

use std::path::PathBuf;
use std::time::Duration;

use eider_attest::{Code, ENDORSEMENTS_MAX, EvidenceKind, Findings, Reason, Root, Worth, stapled};
use parking_lot::Mutex;
use serde::Deserialize;

use self::client::Client;
use self::disk::{HELD_MAX, Held};

pub use self::amd::RootHash;
pub use self::client::{FetchError, Host, PATIENCE};

/// What was fetched is renewed after this time, seconds, long before it is stale: a requester that has seen newer numbers from
/// another worker takes older ones for a rollback.
const DAY: i64 = 24 * 60 * 60;
/// It is renewed no sooner than after this, seconds, however short it lives.
const SOONEST: i64 = 10 * 60;
/// After a failure the first wait is this, seconds, and each is twice the one before.
const RETRY: i64 = 60;
/// The longest wait after a failure, seconds.
const RETRY_MAX: i64 = 6 * 60 * 60;

/// `[collateral]` of a worker's policy: the hosts that may be asked. Nothing is fetched without it.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Hosts {
    /// AMD's key distribution service, for SEV-SNP.
    pub amd: Option<Host>,
    /// Roots that AMD's certificates may end in, in place of those that are built in: for products that are newer than this program,
    /// and for laboratories.
    pub amd_roots: Option<Vec<RootHash>>,
    /// Intel's certification service, for TDX.
    pub intel: Option<Host>,
    /// Where the revocation list of Intel's root is, for TDX.
    pub intel_root: Option<Host>,
}

/// Who is asked for collateral of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// For SEV-SNP.
    Amd {
        /// The key distribution service.
        service: Host,
        /// What certificates must end in.
        roots: Vec<Root>,
    },
    /// For TDX.
    Intel {
        /// The certification service.
        service: Host,
        /// Where the root's list is.
        root: Host,
    },
}

impl Hosts {
    /// Who is asked for this kind; or which field says it, and is not there.
    ///
    /// # Errors
    /// The field; for kinds without such collateral, that there is none.
    pub fn source(&self, kind: EvidenceKind) -> Result<Source, String> {
        let named = |host: &Option<Host>, field: &str| {
            host.clone().ok_or_else(|| format!("does not name `{field}`, which evidence of kind {kind} needs"))
        };
        match kind {
            EvidenceKind::SevSnp => {
                let service = named(&self.amd, "amd")?;
                let roots = match &self.amd_roots {
                    None => amd::built_in(),
                    Some(hashes) if hashes.is_empty() => {
                        return Err(
                            "has an empty `amd_roots`, in which nothing can end; without it AMD's are built in".into(),
                        );
                    }
                    Some(hashes) => amd::named(hashes),
                };
                Ok(Source::Amd { service, roots })
            }
            EvidenceKind::Tdx => {
                let (service, root) = (named(&self.intel, "intel")?, named(&self.intel_root, "intel_root")?);
                Ok(Source::Intel { service, root })
            }
            _ => Err(format!("is of no use for evidence of kind {kind}")),
        }
    }
}

impl Source {
    fn kind(&self) -> EvidenceKind {
        match self {
            Self::Amd { .. } => EvidenceKind::SevSnp,
            Self::Intel { .. } => EvidenceKind::Tdx,
        }
    }

    /// What endorsements are worth for this machine's evidence, and what their verifier said.
    fn look(&self, machine: &Machine, endorsements: &[Vec<u8>], now: i64) -> (Worth, Result<Findings, Reason>) {
        let roots = match self {
            Self::Amd { roots, .. } => &roots[..],
            Self::Intel { .. } => &[],
        };
        let found = stapled(self.kind(), &machine.evidence, endorsements, roots, now);
        (Worth::of(&found), found)
    }
}

/// What came of [`Keeper::renew`].
#[derive(Debug)]
pub enum Renewal {
    /// Nothing was due.
    Fresh,
    /// New collateral is held.
    Renewed {
        /// Good until then, seconds since 1970.
        until: i64,
        /// The failures before it.
        failures: u32,
        /// Why it is in memory alone, if it is.
        unsaved: Option<std::io::Error>,
    },
    /// There is no new collateral; what was held stays.
    Failed {
        /// Cause and fix.
        why: FetchError,
        /// Whether this is the first after a success.
        first: bool,
        /// When it is tried again, seconds since 1970.
        again: i64,
    },
}

/// What was fetched and is held now.
struct Kept {
    until: i64,
    unsaved: Option<std::io::Error>,
    /// What could not be had beside it.
    lacks: Option<FetchError>,
}

/// Evidence of this machine, and what came with it.
#[derive(Clone)]
struct Machine {
    evidence: Vec<u8>,
    given: Vec<Vec<u8>>,
}

#[derive(Default)]
struct State {
    machine: Option<Machine>,
    held: Option<Held>,
    /// When there is something to do, seconds since 1970.
    next: i64,
    /// Since the last success.
    failures: u32,
    version: u64,
}

/// Collateral of this machine.
pub struct Keeper {
    source: Source,
    client: Client,
    folder: PathBuf,
    /// Never held across a wait.
    state: Mutex<State>,
}

/// A number of collateral that is higher in one than in the other.
fn higher<'a>(one: &'a Findings, other: &Findings) -> Option<(&'a str, u64, u64)> {
    let both = one.collateral.iter().filter_map(|(name, number)| Some((name, *number, *other.collateral.get(name)?)));
    both.map(|(name, one, other)| (name.as_str(), one, other)).find(|(_, one, other)| one > other)
}

/// When something that was fetched and is good until then is due.
fn due(fetched: i64, until: i64) -> i64 {
    let half = until.saturating_sub(fetched) / 2;
    fetched.saturating_add(half.clamp(SOONEST, DAY))
}

impl Keeper {
    /// With what is in `folder`, which is this user's alone and holds nothing else. `patience` is how long one request may take.
    pub fn open(source: Source, folder: PathBuf, patience: Duration) -> Self {
        let held = disk::load(&folder, source.kind());
        let state = Mutex::new(State { held, ..State::default() });
        Self { client: Client::new(patience), source, folder, state }
    }

    /// The best that is at hand for this evidence; `given` came from the host or is the owner's. Waits for nobody.
    pub fn staple(&self, evidence: &[u8], given: Vec<Vec<u8>>, now: i64) -> Vec<Vec<u8>> {
        let kind = self.source.kind();
        let machine = Machine { evidence: evidence.to_vec(), given };
        let held = self.state.lock().held.clone().map(|held| held.endorsements);
        let mut all: Vec<_> = std::iter::once(machine.given.clone()).chain(held).collect();
        if kind == EvidenceKind::SevSnp {
            // A list that is not in date spoils what would do without one.
            let without: Vec<_> = all.iter().map(|set| amd::certificates(set)).collect();
            all.extend(without);
        }
        let judged = all.into_iter().map(|set| {
            let (worth, findings) = self.source.look(&machine, &set, now);
            (worth, findings.ok(), set)
        });
        // Of equals the first, but of two that are whole the newer, or else the one that lasts.
        let best = judged.reduce(|best, other| {
            let lasts = match (&best, &other) {
                ((Worth::Whole, Some(best), _), (Worth::Whole, Some(other), _)) => {
                    let newer = (higher(other, best).is_some(), higher(best, other).is_some());
                    newer.0 && !newer.1 || newer.0 == newer.1 && other.window.until > best.window.until
                }
                _ => false,
            };
            if other.0 > best.0 || other.0 == best.0 && lasts { other } else { best }
        });
        let mut state = self.state.lock();
        let (worth, _, set) = best.unwrap_or((Worth::Nothing, None, vec![]));
        if worth < Worth::Whole && state.failures == 0 {
            state.next = state.next.min(now);
        }
        state.machine = Some(machine);
        set
    }

    /// Rises when something else is held: evidence that was made before may have lacked it.
    pub fn version(&self) -> u64 {
        self.state.lock().version
    }

    /// Fetches what is due at `now`, and keeps it. Waits for the network. `device` makes evidence and what comes with it, and is asked
    /// where none was seen yet.
    pub fn renew(&self, now: i64, device: impl FnOnce() -> Result<(Vec<u8>, Vec<Vec<u8>>), String>) -> Renewal {
        let (next, known) = {
            let state = self.state.lock();
            (state.next, state.machine.is_some())
        };
        // A time that is further off than any that is ever set was set by a clock that went wrong.
        if now < next && next - now <= DAY {
            return Renewal::Fresh;
        }
        if !known {
            match device() {
                Ok((evidence, given)) => drop(self.staple(&evidence, given, now)),
                Err(why) => return self.failed(FetchError::Device(why), now),
            }
        }
        let (machine, held) = {
            let state = self.state.lock();
            let Some(machine) = state.machine.clone() else { return Renewal::Fresh };
            (machine, state.held.clone())
        };
        if let Some(next) = self.good_until(&machine, held.as_ref(), now) {
            let mut state = self.state.lock();
            (state.next, state.failures) = (next, 0);
            return Renewal::Fresh;
        }
        match self.fetch(&machine, held.as_ref(), now) {
            Ok(Kept { until, unsaved, lacks: None }) => {
                let mut state = self.state.lock();
                let failures = std::mem::take(&mut state.failures);
                state.next = due(now, until);
                Renewal::Renewed { until, failures, unsaved }
            }
            Ok(Kept { lacks: Some(why), .. }) | Err(why) => self.failed(why, now),
        }
    }

    fn failed(&self, why: FetchError, now: i64) -> Renewal {
        let mut state = self.state.lock();
        let wait = RETRY << state.failures.min(16);
        let (first, again) = (state.failures == 0, now.saturating_add(wait.min(RETRY_MAX)));
        state.failures = state.failures.saturating_add(1);
        state.next = again;
        Renewal::Failed { why, first, again }
    }

    /// When to look again, if nothing has to be fetched: the host's is good for another day, or what was fetched is not due.
    fn good_until(&self, machine: &Machine, held: Option<&Held>, now: i64) -> Option<i64> {
        let whole = |set: &[Vec<u8>]| match self.source.look(machine, set, now) {
            (Worth::Whole, Ok(findings)) => Some(findings),
            _ => None,
        };
        let held = held.and_then(|held| Some((held.fetched, whole(&held.endorsements)?)));
        let given = whole(&machine.given);
        let is_newest = |given: &Findings| held.as_ref().is_none_or(|(_, held)| higher(held, given).is_none());
        let given = given.filter(is_newest).map(|given| given.window.until.saturating_sub(DAY));
        let given = given.filter(|last| now < *last);
        let held = held.filter(|(fetched, _)| *fetched <= now);
        let held = held.map(|(fetched, found)| due(fetched, found.window.until)).filter(|due| now < *due);
        given.max(held).map(|last| last.min(now.saturating_add(DAY)))
    }

    /// Fetches, and keeps what came.
    fn fetch(&self, machine: &Machine, held: Option<&Held>, now: i64) -> Result<Kept, FetchError> {
        let kind = self.source.kind();
        let (endorsements, lacks) = match &self.source {
            Source::Amd { service, .. } => {
                let all = held.iter().map(|held| &held.endorsements).chain([&machine.given]);
                let mut certificates = all.map(|set| amd::certificates(set));
                // Of a set that leaves no room for a list none would ever be kept.
                let holding = certificates.find(|set| {
                    set.len() < ENDORSEMENTS_MAX && self.source.look(machine, set, now).0 == Worth::NoLists
                });
                let leaf = holding.as_ref().unwrap_or(&machine.given).first().cloned();
                amd::fetch(&self.client, service, &machine.evidence, leaf.as_ref(), holding)?
            }
            Source::Intel { service, root } => {
                (vec![intel::fetch(&self.client, service, root, &machine.evidence)?], None)
            }
        };
        let wanted = if lacks.is_none() { Worth::Whole } else { Worth::NoLists };
        let until = self.accepted(machine, held, &endorsements, (wanted, now))?;
        let fetched = Held { fetched: now, endorsements };
        let unsaved = disk::save(&self.folder, kind, &fetched).err();
        let mut state = self.state.lock();
        state.version += u64::from(held.is_none_or(|held| held.endorsements != fetched.endorsements));
        state.held = Some(fetched);
        Ok(Kept { until, unsaved, lacks })
    }
    /// Until when what was fetched is good, if it may take the place of what is held: an envelope can hold it, it holds for this machine,
    /// is worth what is wanted now, and nothing of it is older.
    fn accepted(
        &self,
        machine: &Machine,
        held: Option<&Held>,
        fetched: &[Vec<u8>],
        (wanted, now): (Worth, i64),
    ) -> Result<i64, FetchError> {
        let refused = |why: String| Err(FetchError::Refused(Reason::new(Code::CollateralInvalid, why)));
        let bytes: usize = fetched.iter().map(Vec::len).sum();
        if bytes > HELD_MAX {
            return refused(format!("{bytes} bytes; at most {HELD_MAX} are kept"));
        }
        if fetched.len() > ENDORSEMENTS_MAX {
            return refused(format!("{} certificates and lists; at most {ENDORSEMENTS_MAX} are kept", fetched.len()));
        }
        let (worth, found) = self.source.look(machine, fetched, now);
        let findings = found.map_err(FetchError::Refused)?;
        if worth < wanted {
            let reasons: Vec<_> = findings.reasons.iter().map(ToString::to_string).collect();
            return refused(reasons.join("; "));
        }
        let until = findings.window.until;
        let before = held.map(|held| self.source.look(machine, &held.endorsements, now));
        let Some((worth_held, Ok(before))) = before else { return Ok(until) };
        if let Some((name, seen, number)) = higher(&before, &findings) {
            return Err(FetchError::Older(format!("{name} is {number}, and {seen} is held")));
        }
        // What is newer may end sooner: a list of an emergency is made outside of the usual days.
        let longer = before.window.until;
        if worth_held == Worth::Whole && higher(&findings, &before).is_none() && until < longer {
            return Err(FetchError::Older(format!(
                "it is good until {until} s since 1970, what is held until {longer}"
            )));
        }
        Ok(until)
    }
}
