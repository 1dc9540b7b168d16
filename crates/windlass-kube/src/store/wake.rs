use std::ops::{BitOr, BitOrAssign};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use tokio::sync::Notify;

/// What has happened since one last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct WakeReasons(u8);

impl WakeReasons {
    /// A pod turned unschedulable.
    pub const UNSCHEDULABLE_POD: Self = Self(1);
    /// A node came, went, or changed in what it offers.
    pub const NODE: Self = Self(1 << 1);
    /// A pod left a node that is being removed.
    pub const DRAINED_POD: Self = Self(1 << 2);
    /// The view was interrupted and is current again, or an operator's setting changed.
    pub const VIEW: Self = Self(1 << 3);
    /// An object of an optional feature came, went, or changed.
    pub const FEATURE: Self = Self(1 << 4);

    /// Whether nothing has.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` has.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for WakeReasons {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for WakeReasons {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Wakes whoever decides. Clones share it; one waits.
#[derive(Clone, Debug, Default)]
pub struct Wake {
    reasons: Arc<AtomicU8>,
    count: Arc<AtomicU64>,
    notify: Arc<Notify>,
}

impl Wake {
    /// Adds reasons, and wakes the one that waits.
    pub fn add(&self, reasons: WakeReasons) {
        if !reasons.is_empty() {
            self.reasons.fetch_or(reasons.0, Ordering::AcqRel);
            self.count.fetch_add(1, Ordering::AcqRel);
            self.notify.notify_one();
        }
    }

    /// Returns when there is a reason, without taking it.
    pub async fn wait(&self) {
        while self.reasons.load(Ordering::Acquire) == 0 {
            self.notify.notified().await;
        }
    }

    /// How often reasons have been added: it stands still when a burst is over.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Takes all reasons there are.
    pub fn take(&self) -> WakeReasons {
        WakeReasons(self.reasons.swap(0, Ordering::AcqRel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reasons_gather_until_taken() {
        let wake = Wake::default();
        wake.add(WakeReasons::NODE);
        wake.add(WakeReasons::UNSCHEDULABLE_POD);
        wake.wait().await;
        let reasons = wake.take();
        assert!(reasons.contains(WakeReasons::NODE | WakeReasons::UNSCHEDULABLE_POD));
        assert!(wake.take().is_empty());
    }
}
