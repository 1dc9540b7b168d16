use std::collections::BTreeMap;

use windlass_model::{Duration, SmolStr, Timestamp};

use crate::instant::after;

/// After so long a status that the view does not show has been lost, or changed by somebody else.
const PATIENCE: Duration = Duration::from_secs(30);

/// Statuses that this process has written and the view of the cluster does not show yet, by uid
/// of their object. Without them the next loop would decide the same once more.
#[derive(Clone, Debug, PartialEq)]
pub struct Unseen<T> {
    written: BTreeMap<SmolStr, (Timestamp, T)>,
}

impl<T> Default for Unseen<T> {
    fn default() -> Self {
        Self {
            written: BTreeMap::new(),
        }
    }
}

impl<T: Clone + PartialEq> Unseen<T> {
    /// The status of an object, of which the view shows `shown`.
    pub(crate) fn or<'a>(&'a self, uid: &str, shown: &'a T) -> &'a T {
        self.written.get(uid).map_or(shown, |(_, status)| status)
    }

    /// Remembers what is written now.
    pub(crate) fn note(&mut self, uid: SmolStr, status: T, now: Timestamp) {
        self.written.insert(uid, (now, status));
    }

    /// It could not be written.
    pub(crate) fn forget(&mut self, uid: &str) {
        self.written.remove(uid);
    }

    /// Forgets what the view shows by now, what it should have shown long ago, and objects that
    /// it has not; `shown` tells what it shows of an object.
    pub(crate) fn settle<'a>(&mut self, now: Timestamp, shown: impl Fn(&str) -> Option<&'a T>)
    where
        T: 'a,
    {
        self.written.retain(|uid, (at, status)| {
            after(*at, PATIENCE) > now && shown(uid).is_some_and(|shown| shown != status)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_counts_until_it_is_seen_lost_or_gone() {
        let at = Timestamp::UNIX_EPOCH;
        let mut unseen = Unseen::default();
        unseen.note("a".into(), 2, at);
        assert_eq!(*unseen.or("a", &1), 2);
        assert_eq!(*unseen.or("b", &1), 1);
        unseen.settle(at, |_| Some(&1));
        assert_eq!(*unseen.or("a", &1), 2);
        for shown in [Some(&2), None] {
            let mut settled = unseen.clone();
            settled.settle(at, |_| shown);
            assert_eq!(settled, Unseen::default());
        }
        unseen.settle(at + PATIENCE, |_| Some(&1));
        assert_eq!(*unseen.or("a", &1), 1);
        unseen.note("a".into(), 3, at);
        unseen.forget("a");
        assert_eq!(*unseen.or("a", &1), 1);
    }
}
