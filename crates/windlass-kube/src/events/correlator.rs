use std::collections::BTreeSet;

use jiff::Timestamp;

use super::lru::Lru;
use super::{EventRecord, EventSeverity, InvolvedObject, RecorderOptions};

/// client-go's `maxLruCacheEntries`.
const KEYS: usize = 4096;
/// The Go autoscaler's cache of the spam filter.
const SPAM_KEYS: usize = 8192;
/// As many different messages of one kind within [`SIMILAR_SECONDS`] become one event.
const SIMILAR: usize = 10;
const SIMILAR_SECONDS: i64 = 600;
/// A token of the spam filter comes back after this long.
const REFILL_SECONDS: f64 = 300.0;
/// client-go's own burst, with `--record-duplicated-events`.
const DEFAULT_BURST: f64 = 25.0;

/// Where the Go autoscaler filters by message: hard-wired there to this one.
const STATUS_NAMESPACE: &str = "kube-system";
const STATUS_NAME: &str = "cluster-autoscaler-status";

/// What is written for an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// A new Event.
    Create(Entry),
    /// An Event of earlier, counted up.
    Patch(Entry),
}

impl Write {
    pub(super) fn is_patch(&self) -> bool {
        matches!(self, Self::Patch(_))
    }
}

/// What of an Event is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// `metadata.name`.
    pub(super) name: String,
    pub(super) message: String,
    pub(super) count: u32,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

/// Events that differ in their message at most. The source is the same for all of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Similar {
    object: InvolvedObject,
    severity: EventSeverity,
    reason: String,
}

/// The same event, or (without message) the aggregate of similar ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Same {
    similar: Similar,
    message: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum SpamKey {
    Object(InvolvedObject, Option<String>),
    Message(String),
}

#[derive(Debug)]
struct Messages {
    seen: BTreeSet<String>,
    last: Timestamp,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Timestamp,
}

/// client-go's `EventCorrelator`: aggregates similar events, counts equal ones, and drops
/// what comes too often.
#[derive(Debug)]
pub(super) struct Correlator {
    options: RecorderOptions,
    similar: Lru<Similar, Option<Messages>>,
    same: Lru<Same, Option<Entry>>,
    spam: Lru<SpamKey, Option<Bucket>>,
}

impl Correlator {
    pub(super) fn new(options: RecorderOptions) -> Self {
        Self {
            options,
            similar: Lru::new(KEYS),
            same: Lru::new(KEYS),
            spam: Lru::new(SPAM_KEYS),
        }
    }

    /// What to write for `event`; `None` when it comes too often.
    pub(super) fn observe(&mut self, event: &EventRecord, now: Timestamp) -> Option<Write> {
        let (same, message) = self.aggregate(event, now);
        let entry = self.same.entry(&same, || None);
        let write = match entry {
            Some(known) => {
                known.count += 1;
                known.last = now;
                known.message = message;
                Write::Patch(known.clone())
            }
            None => Write::Create(entry.insert(new_entry(event, message, now)).clone()),
        };
        self.has_token(event, now).then_some(write)
    }

    /// A new Event in the place of one that is gone from the server.
    pub(super) fn recreate(&mut self, event: &EventRecord, gone: &Write, now: Timestamp) -> Write {
        let (Write::Create(entry) | Write::Patch(entry)) = gone;
        let renewed = Entry {
            name: event_name(&event.object, now),
            ..entry.clone()
        };
        for message in [Some(event.message.clone()), None] {
            let same = Same {
                similar: similar(event),
                message,
            };
            let known = self.same.entry(&same, || None);
            if known.as_ref().is_some_and(|known| known.name == entry.name) {
                *known = Some(renewed.clone());
            }
        }
        Write::Create(renewed)
    }

    /// client-go's `EventAggregate`: the key under which `event` is counted, and its message.
    fn aggregate(&mut self, event: &EventRecord, now: Timestamp) -> (Same, String) {
        let similar = similar(event);
        let messages = self.similar.entry(&similar, || None);
        let messages = match messages {
            Some(known) if now.as_second() - known.last.as_second() <= SIMILAR_SECONDS => known,
            stale => stale.insert(Messages {
                seen: BTreeSet::new(),
                last: now,
            }),
        };
        messages.last = now;
        messages.seen.insert(event.message.clone());
        if messages.seen.len() < SIMILAR {
            let message = event.message.clone();
            let same = Same {
                similar,
                message: Some(message.clone()),
            };
            return (same, message);
        }
        messages.seen.pop_first();
        let same = Same {
            similar,
            message: None,
        };
        let message = format!("(combined from similar events): {}", event.message);
        (same, message)
    }

    fn has_token(&mut self, event: &EventRecord, now: Timestamp) -> bool {
        let (key, burst) = if self.options.record_duplicates {
            (SpamKey::Object(event.object.clone(), None), DEFAULT_BURST)
        } else if event.object.kind == "ConfigMap"
            && event.object.namespace == STATUS_NAMESPACE
            && event.object.name == STATUS_NAME
        {
            (SpamKey::Message(event.message.clone()), 1.0)
        } else {
            let reason = Some(event.reason.clone());
            (SpamKey::Object(event.object.clone(), reason), 1.0)
        };
        let bucket = self
            .spam
            .entry(&key, || None)
            .get_or_insert_with(|| Bucket {
                tokens: burst,
                filled_at: now,
            });
        let elapsed = now.duration_since(bucket.filled_at).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + elapsed / REFILL_SECONDS).min(burst);
        bucket.filled_at = now;
        let has_token = bucket.tokens >= 1.0;
        if has_token {
            bucket.tokens -= 1.0;
        }
        has_token
    }
}

fn similar(event: &EventRecord) -> Similar {
    Similar {
        object: event.object.clone(),
        severity: event.severity,
        reason: event.reason.clone(),
    }
}

fn new_entry(event: &EventRecord, message: String, now: Timestamp) -> Entry {
    Entry {
        name: event_name(&event.object, now),
        message,
        count: 1,
        first: now,
        last: now,
    }
}

/// client-go's name: the object's, and the time in hexadecimal nanoseconds.
fn event_name(object: &InvolvedObject, now: Timestamp) -> String {
    format!("{}.{:x}", object.name, now.as_nanosecond())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap() + SignedDuration::from_secs(second)
    }

    fn about_pod(reason: &str, message: &str) -> EventRecord {
        EventRecord {
            severity: EventSeverity::Normal,
            reason: reason.to_owned(),
            message: message.to_owned(),
            object: InvolvedObject {
                api_version: "v1",
                kind: "Pod",
                namespace: "default".to_owned(),
                name: "web-1".to_owned(),
                uid: "1234".to_owned(),
            },
        }
    }

    fn about_status(message: &str) -> EventRecord {
        EventRecord {
            object: InvolvedObject {
                api_version: "v1",
                kind: "ConfigMap",
                namespace: "kube-system".to_owned(),
                name: "cluster-autoscaler-status".to_owned(),
                uid: "5678".to_owned(),
            },
            ..about_pod("ScaledUpGroup", message)
        }
    }

    #[test]
    fn one_event_of_a_reason_and_object_in_five_minutes() {
        let mut correlator = Correlator::new(RecorderOptions::default());
        let event = about_pod("NotTriggerScaleUp", "a");
        assert!(matches!(
            correlator.observe(&event, at(0)),
            Some(Write::Create(_))
        ));
        assert_eq!(correlator.observe(&event, at(10)), None);
        assert_eq!(
            correlator.observe(&about_pod("NotTriggerScaleUp", "b"), at(20)),
            None
        );
        assert!(
            correlator
                .observe(&about_pod("TriggeredScaleUp", "c"), at(20))
                .is_some()
        );
        let Some(Write::Patch(entry)) = correlator.observe(&event, at(301)) else {
            panic!("the same event is counted up once the filter lets it through");
        };
        assert_eq!((entry.count, entry.first), (3, at(0)));
    }

    #[test]
    fn each_message_on_the_status_object_is_filtered_for_itself() {
        let mut correlator = Correlator::new(RecorderOptions::default());
        assert!(correlator.observe(&about_status("a"), at(0)).is_some());
        assert!(correlator.observe(&about_status("b"), at(0)).is_some());
        assert_eq!(correlator.observe(&about_status("a"), at(1)), None);
    }

    #[test]
    fn ten_similar_events_become_one() {
        let mut correlator = Correlator::new(RecorderOptions {
            record_duplicates: true,
        });
        for i in 0..9 {
            let event = about_pod("ScaleDown", &format!("message {i}"));
            assert!(matches!(
                correlator.observe(&event, at(i)),
                Some(Write::Create(_))
            ));
        }
        let tenth = correlator.observe(&about_pod("ScaleDown", "message 9"), at(9));
        let Some(Write::Create(entry)) = tenth else {
            panic!("the aggregate is an event of its own");
        };
        assert_eq!(entry.message, "(combined from similar events): message 9");
        let eleventh = correlator.observe(&about_pod("ScaleDown", "message 10"), at(10));
        assert!(matches!(
            eleventh,
            Some(Write::Patch(Entry { count: 2, .. }))
        ));
        // Ten quiet minutes later they are told one by one again.
        let later = correlator.observe(&about_pod("ScaleDown", "message 11"), at(620));
        assert!(matches!(later, Some(Write::Create(Entry { count: 1, .. }))));
    }

    #[test]
    fn an_event_that_expired_is_made_anew() {
        let mut correlator = Correlator::new(RecorderOptions::default());
        let event = about_pod("ScaleDown", "a");
        correlator.observe(&event, at(0)).unwrap();
        let patch = correlator.observe(&event, at(400)).unwrap();
        let Write::Create(renewed) = correlator.recreate(&event, &patch, at(401)) else {
            panic!("a new event");
        };
        let Some(Write::Patch(next)) = correlator.observe(&event, at(900)) else {
            panic!("counted up");
        };
        assert_eq!((next.name, next.count), (renewed.name, 3));
    }

    #[test]
    fn names_are_client_gos() {
        let object = about_pod("a", "b").object;
        assert_eq!(event_name(&object, at(0)), "web-1.17979cfe362a0000");
    }
}
