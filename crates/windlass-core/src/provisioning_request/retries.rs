//! How long a request waits after there was no room for it. Source:
//! `pkg/processors/provreq/injector.go`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass_config::Features;
use windlass_model::{Duration, SmolStr, Timestamp};

use crate::instant::after;

/// The delays of requests that were tried in vain, by uid. They are dropped by age of use once
/// there are more than `--provisioning-request-max-backoff-cache-size`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Retries {
    delays: BTreeMap<SmolStr, Delay>,
    uses: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Delay {
    /// How long the request waits after the next failure.
    wait: Duration,
    /// The number of its last use.
    used: u64,
}

impl Retries {
    /// When a request of which there was no room `since` then may be tried again: behind that
    /// instant.
    pub(super) fn due(&self, uid: &str, since: Timestamp, flags: &Features) -> Timestamp {
        let delay = self.delays.get(uid);
        let wait = delay.map_or(flags.provisioning_request_initial_backoff, |delay| {
            delay.wait
        });
        after(since, wait)
    }

    /// The request is tried again: the next delay is twice as long.
    pub(super) fn retry(&mut self, uid: &SmolStr, flags: &Features) {
        let initial = flags.provisioning_request_initial_backoff;
        let wait = self.delays.get(uid).map_or(initial, |delay| delay.wait);
        self.uses += 1;
        let delay = Delay {
            wait: wait
                .saturating_mul(2)
                .min(flags.provisioning_request_max_backoff),
            used: self.uses,
        };
        self.delays.insert(uid.clone(), delay);
        let most = usize::try_from(flags.provisioning_request_max_backoff_cache_size).unwrap_or(0);
        while self.delays.len() > most {
            let oldest = self.delays.iter().min_by_key(|(_, delay)| delay.used);
            let Some(oldest) = oldest.map(|(uid, _)| uid.clone()) else {
                break;
            };
            self.delays.remove(&oldest);
        }
    }

    /// The request needs no further try.
    pub(super) fn forget(&mut self, uid: &str) {
        self.delays.remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(count: i64) -> Duration {
        Duration::from_mins(count)
    }

    #[test]
    fn the_delay_doubles_up_to_the_longest() {
        let flags = Features::default();
        let mut retries = Retries::default();
        let since = Timestamp::UNIX_EPOCH;
        let uid = SmolStr::new("r");
        let mut waits = Vec::new();
        for _ in 0..6 {
            waits.push(retries.due(&uid, since, &flags).duration_since(since));
            retries.retry(&uid, &flags);
        }
        assert_eq!(waits, [1, 2, 4, 8, 10, 10].map(minutes));
        retries.forget(&uid);
        assert_eq!(retries.due(&uid, since, &flags), since + minutes(1));
    }

    #[test]
    fn the_flags_set_first_and_longest_delay() {
        let flags = Features {
            provisioning_request_initial_backoff: minutes(3),
            provisioning_request_max_backoff: minutes(4),
            ..Features::default()
        };
        let mut retries = Retries::default();
        let since = Timestamp::UNIX_EPOCH;
        assert_eq!(retries.due("r", since, &flags), since + minutes(3));
        retries.retry(&"r".into(), &flags);
        assert_eq!(retries.due("r", since, &flags), since + minutes(4));
    }

    #[test]
    fn the_delay_used_longest_ago_is_dropped_first() {
        let flags = Features {
            provisioning_request_max_backoff_cache_size: 2,
            ..Features::default()
        };
        let mut retries = Retries::default();
        for uid in ["a", "b", "a", "c"] {
            retries.retry(&uid.into(), &flags);
        }
        let known: Vec<&str> = retries.delays.keys().map(SmolStr::as_str).collect();
        assert_eq!(known, ["a", "c"]);
    }
}
