use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::time::Instant as Due;
use windlass_config::Process;
use windlass_kube::Wake;

/// A burst is over when nothing has come for this long …
const QUIET: Duration = Duration::from_millis(10);
/// … or when this long has passed since its beginning.
const LONGEST_GATHERING: Duration = Duration::from_millis(50);
/// After a loop that took longer than this, the next one waits no longer than this.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// When the next loop begins.
#[derive(Debug)]
pub(super) struct Pace {
    scan_interval: Duration,
    heeds_events: bool,
    due: Due,
    /// Not before: loops take at most half the time there is.
    not_before: Due,
}

impl Pace {
    pub(super) fn new(process: &Process) -> Self {
        let now = Due::now();
        Self {
            scan_interval: process.scan_interval.unsigned_abs(),
            heeds_events: process.frequent_loops_enabled,
            due: now,
            not_before: now,
        }
    }

    /// Whether anything but time and outcomes begins a loop.
    pub(super) fn heeds_events(&self) -> bool {
        self.heeds_events
    }

    /// When the next loop begins if nothing happens before.
    pub(super) fn due(&self) -> Due {
        self.due
    }

    /// A loop is over that began then, and wants the next one at `wake_at`.
    pub(super) fn after_loop(&mut self, began: Instant, wake_at: Option<Timestamp>) {
        let now = Due::now();
        self.not_before = now + began.elapsed().min(LONGEST_REST);
        let wanted = wake_at
            .map(|at| at.duration_since(Timestamp::now()))
            .map(|pause| Duration::try_from(pause).unwrap_or_default());
        let pause = wanted.map_or(self.scan_interval, |pause| pause.min(self.scan_interval));
        self.due = (now + pause).max(self.not_before);
    }

    /// Lets a burst come to its end, so that it is one decision.
    pub(super) async fn gather(&self, wake: &Wake) {
        tokio::time::sleep_until(self.not_before).await;
        let end = Due::now() + LONGEST_GATHERING;
        let mut seen = wake.count();
        while Due::now() < end {
            tokio::time::sleep(QUIET).await;
            let now_seen = wake.count();
            if now_seen == seen {
                return;
            }
            seen = now_seen;
        }
    }
}
