use std::collections::BTreeMap;

use windlass_model::{SmolStr, Timestamp};

use super::pods::PodId;

/// Something that will happen by itself.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// An entry of the timeline, by index.
    Timeline(usize),
    /// An instance has booted and joined.
    InstanceReady(SmolStr),
    /// The cloud says that an instance will not come.
    InstanceFails(SmolStr),
    /// An instance that was terminated is gone, and its node with it.
    InstanceGone(SmolStr),
    /// A group's shortage is over.
    FailureEnds(SmolStr),
    /// A Job's pod has done its work.
    PodFinished(PodId),
    /// A pod that was deleted has stopped.
    PodGone(PodId),
    /// A request, or an answer, that was on its way.
    Late(u64),
}

/// Events in order of time; of the same time, in the order in which they were put in.
#[derive(Debug, Default)]
pub(super) struct Queue {
    events: BTreeMap<(Timestamp, u64), Event>,
    next: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: Timestamp, event: Event) {
        self.events.insert((at, self.next), event);
        self.next += 1;
    }

    pub(super) fn next_time(&self) -> Option<Timestamp> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    /// The first event, if it is due.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Event> {
        let entry = self.events.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}
