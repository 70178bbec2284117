//! The task that has collateral renewed, and says once what stands in the way.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use eider_attest_device::collateral::Renewal;
use tokio_util::sync::CancellationToken;

use crate::evidence::Attester;
use crate::worker::unix_now;

/// How often it is looked whether something is due: a machine whose firmware has changed waits no longer than this.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Renews for as long as the worker lives. Evidence does not wait for it.
pub(crate) async fn renew(attester: Arc<dyn Attester>, shutdown: CancellationToken) {
    loop {
        let asked = attester.clone();
        // A host that does not answer holds this thread until the client's patience ends, and nothing else.
        let renewed = tokio::task::spawn_blocking(move || asked.renew(unix_now()));
        let renewed = tokio::select! {
            renewed = renewed => renewed,
            () = shutdown.cancelled() => return,
        };
        match renewed {
            Ok(Some(renewal)) => say(&renewal),
            Ok(None) => return,
            Err(e) => tracing::error!("collateral: {e}"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

fn say(renewal: &Renewal) {
    match renewal {
        Renewal::Fresh => {}
        Renewal::Renewed { until, failures, unsaved } => {
            let until = date(*until);
            tracing::info!(failures, "collateral was fetched, and is good until {until}");
            if let Some(e) = unsaved {
                tracing::warn!("collateral is in memory alone and will be fetched again after a restart: {e}");
            }
        }
        Renewal::Failed { why, first: true, again } => {
            let again = date(*again);
            tracing::warn!(
                "collateral is not renewed: {why}. Evidence is made with what is at hand; tried again at {again}"
            );
        }
        Renewal::Failed { why, first: false, again } => {
            tracing::debug!(again, "collateral is still not renewed: {why}")
        }
    }
}

fn date(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).map_or_else(String::new, |t| humantime::format_rfc3339_seconds(t).to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use eider_attest::{Binding, EvidenceKind};
    use eider_attest_device::collateral::FetchError;
    use parking_lot::Mutex;

    use super::*;
    use crate::evidence::Evidence;

    /// Its network hangs until it is let go.
    struct Hangs {
        asked: mpsc::Sender<i64>,
        let_go: Mutex<mpsc::Receiver<()>>,
    }

    impl Attester for Hangs {
        fn kind(&self) -> EvidenceKind {
            EvidenceKind::Development
        }
        fn produce(&self, binding: &Binding) -> Result<Evidence, String> {
            crate::DevelopmentAttester.produce(binding)
        }
        fn renew(&self, now: i64) -> Option<Renewal> {
            self.asked.send(now).unwrap();
            let _ = self.let_go.lock().recv();
            let why = FetchError::Device("the test has none".into());
            Some(Renewal::Failed { why, first: true, again: now })
        }
    }

    #[tokio::test]
    async fn a_worker_goes_down_at_once_while_a_fetch_hangs_and_without_collateral_the_task_ends() {
        let ((asked, was_asked), (let_go, hangs)) = (mpsc::channel(), mpsc::channel());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(renew(Arc::new(Hangs { asked, let_go: Mutex::new(hangs) }), shutdown.clone()));
        let asked = tokio::task::spawn_blocking(move || was_asked.recv_timeout(Duration::from_secs(10)));
        assert!((asked.await.unwrap().unwrap() - unix_now()).abs() < 60, "it is told the time");
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(5), task).await.unwrap().unwrap();
        drop(let_go);
        let never = renew(Arc::new(crate::DevelopmentAttester), CancellationToken::new());
        tokio::time::timeout(Duration::from_secs(5), never).await.unwrap();
    }
}
