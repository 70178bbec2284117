//! What the policy makes of the engines that are here, now: at the worker's start, when something has changed, and from time to time.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use eider_core::EngineStand;
use eider_engines::{Candidate, EnginePolicy, Look, Stored, Yanked};
use eider_protocol::{Hash, printable};
use tokio_util::sync::CancellationToken;

use super::{DETAIL_MAX, Engines, Stage, now_s};
use crate::worker::Shared;

/// How often the policy is looked at, and what it makes of the engines that are here.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often also where nothing has changed.
const LOOK_AT_ALL_EVERY: Duration = Duration::from_secs(60);

/// The policy as it was read last.
pub(super) struct Policy {
    pub(super) now: Arc<EnginePolicy>,
    /// The time of the file that it was read from, once it was looked at.
    pub(super) time: Option<SystemTime>,
    /// A later time, seen once: whoever writes the file may not be done.
    pub(super) seen: Option<SystemTime>,
}

impl Engines {
    /// What the policy makes of what is here, now: where the policy or what is known of a build has changed, and from time to time, for
    /// proofs grow old.
    fn look_again(&self, shared: &Shared) {
        let changed = self.read_policy();
        let all: Vec<_> = self.state.lock().here.iter().map(|(engine, here)| (*engine, here.looked)).collect();
        for (engine, looked) in all {
            let known = self.setup.store.times(&engine);
            if !changed && looked.is_some_and(|(of, at)| of == known && at.elapsed() < LOOK_AT_ALL_EVERY) {
                continue;
            }
            if let Some(here) = self.state.lock().here.get_mut(&engine) {
                here.looked = Some((known, Instant::now()));
            }
            let stand = match self.setup.store.get(&engine) {
                Ok(Some(stored)) => self.stand(&stored),
                // What cannot be read is not run.
                Ok(None) => Err("what is published of it is gone".into()),
                Err(e) => Err(e.to_string()),
            };
            self.set_stand(shared, engine, stand);
        }
    }

    /// Whether a build of the store is run. Of one that is here, the bytes were compared with the manifest, and looked into, when it came.
    pub(super) fn stand(&self, stored: &Stored) -> Result<Yanked, String> {
        let touches = self.state.lock().here.get(&stored.hash).map(|here| here.touches.clone());
        let look = || Ok(touches.as_deref().cloned().unwrap_or_default());
        let component = touches.is_some().then_some((&stored.manifest.digests, &look as &Look<'_>));
        let build = Candidate {
            hash: stored.hash,
            bundle: Some(&stored.bundle),
            component,
            yanks: &stored.yanks,
            before: None,
            now: now_s(),
        };
        let judged = self.judge(&build);
        judged.admitted().map(|rule| rule.yanked).ok_or_else(|| judged.refusal())
    }

    pub(super) fn set_stand(&self, shared: &Shared, engine: Hash, stand: Result<Yanked, String>) {
        let mut state = self.state.lock();
        let Some(here) = state.here.get_mut(&engine) else { return };
        match stand {
            Ok(yanked) => {
                here.yanked = yanked;
                if here.gone.is_cancelled() {
                    here.gone = CancellationToken::new();
                }
                shared.admission.lock().set_engine(engine, Some(Ok(self.profiles())));
            }
            Err(why) => {
                if here.yanked == Yanked::Refuse && !here.gone.is_cancelled() {
                    tracing::info!("engine {} is not run any more: {why}", here.name);
                    here.gone.cancel();
                }
                let stand: EngineStand = Err(printable(&why, DETAIL_MAX));
                shared.admission.lock().set_engine(engine, Some(stand));
            }
        }
    }

    /// Reads the policy's file if it is another by now, and stays what it was for two looks; whether it was read. One that cannot be read leaves
    /// what was.
    fn read_policy(&self) -> bool {
        let Some(path) = &self.setup.policy_file else { return false };
        let time = std::fs::metadata(path).and_then(|m| m.modified()).ok();
        {
            let mut policy = self.policy.lock();
            if time == policy.time {
                return false;
            }
            if time != policy.seen {
                policy.seen = time;
                return false;
            }
            policy.time = time;
        }
        match EnginePolicy::read(path) {
            Ok(now) => {
                let mut policy = self.policy.lock();
                let changed = *policy.now != now;
                policy.now = Arc::new(now);
                drop(policy);
                if changed {
                    tracing::info!("{} is read again", path.display());
                    self.remembered.lock().clear();
                }
                changed
            }
            Err(e) => {
                tracing::warn!("{} is not read again: {e}", path.display());
                false
            }
        }
    }
}

/// Runs what is in the store already.
pub(crate) async fn restore(shared: Arc<Shared>) {
    let Some(engines) = &shared.engines else { return };
    engines.count(&shared);
    let stored = engines.on_disk(|store| store.list()).await.unwrap_or_else(|why| {
        tracing::warn!("{}", why.words());
        vec![]
    });
    for stored in stored.iter().filter(|stored| stored.whole) {
        if shared.admission.lock().knows(&stored.hash) {
            continue;
        }
        if let Err(why) = engines.stand(stored) {
            tracing::info!("engine {} {} is not run: {why}", stored.manifest.name, stored.manifest.version);
            continue;
        }
        if !engines.claim(stored.hash, Stage::Waiting) {
            continue;
        }
        let made = tokio::select! {
            made = engines.make(&shared, stored) => made,
            () = shared.shutdown.cancelled() => return,
        };
        engines.taken(&shared, stored.hash, None, made).await;
    }
}

/// Looks again and again at the policy, and at what it makes of what is here.
pub(crate) async fn look(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shared.shutdown.cancelled() => return,
        }
        let on = shared.clone();
        let looked = tokio::task::spawn_blocking(move || {
            if let Some(engines) = &on.engines {
                engines.look_again(&on);
            }
        });
        let _ = looked.await;
    }
}
