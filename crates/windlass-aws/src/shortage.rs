//! What AWS has lately been out of, remembered for every group that draws on the same. Pure.
//!
//! A launch that fails for want of machines says something about a pool (a type, in a zone, on
//! demand or spot), about a quota of the account or about subnets. Each is remembered for a minute
//! at first, for twice as long whenever it fails again after that, and forgotten an hour after the
//! last failure, or as soon as an instance comes out of the pool.

use std::collections::BTreeMap;

use jiff::Timestamp;
use windlass_model::{Duration, Shortage};

use crate::activity::{FailureCause, LaunchFailure};
use crate::schedule::later;

/// How long a pool is let rest after a failure: at first, and at most.
const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_mins(16);
/// How long after the last failure nothing of it is remembered.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(1);

/// How an instance is paid for; AWS's stocks of the two are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Market {
    /// At the list price.
    OnDemand,
    /// At the price of the moment, until AWS wants it back.
    Spot,
}

/// What instances come out of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pool {
    /// Instance type.
    pub instance_type: String,
    /// Zone.
    pub zone: String,
    /// Purchase option.
    pub market: Market,
}

/// What a group's next instance may come out of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The pools; any of them will do.
    pub pools: Vec<Pool>,
    /// The subnets, as the group names them.
    pub subnets: Option<String>,
}

/// What can be short.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Scope {
    Pool(Pool),
    Quota {
        family: &'static str,
        market: Market,
    },
    Subnets(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    until: Timestamp,
    pause: Duration,
    last: Timestamp,
    message: String,
}

/// All shortages that are remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortages {
    entries: BTreeMap<Scope, Entry>,
}

impl Shortages {
    /// Remembers why a group's launch failed.
    pub fn note(&mut self, sources: &Sources, failure: &LaunchFailure, now: Timestamp) {
        self.entries
            .retain(|_, entry| now < later(entry.last, FORGOTTEN_AFTER));
        for scope in concerned(sources, failure) {
            let pause = match self.entries.get(&scope) {
                None => FIRST,
                // Failures of one rest are one failure.
                Some(entry) if now < entry.until => entry.pause,
                Some(entry) => entry.pause.saturating_mul(2).min(LONGEST),
            };
            let entry = Entry {
                until: later(now, pause),
                pause,
                last: now,
                message: message(&scope, &failure.message),
            };
            self.entries.insert(scope, entry);
        }
    }

    /// Takes in that an instance came out of a pool.
    pub fn relieve(&mut self, pool: &Pool) {
        self.entries.remove(&Scope::Pool(pool.clone()));
        self.entries.remove(&Scope::Quota {
            family: quota_family(&pool.instance_type),
            market: pool.market,
        });
    }

    /// Why a group would get nothing now: its subnets are full, or all its pools are short.
    pub fn of(&self, sources: &Sources, now: Timestamp) -> Option<Shortage> {
        let subnets = sources
            .subnets
            .as_ref()
            .and_then(|subnets| self.current(&Scope::Subnets(subnets.clone()), now));
        if let Some(entry) = subnets {
            return Some(shortage(entry));
        }
        let mut first: Option<&Entry> = None;
        for pool in &sources.pools {
            let entry = self.of_pool(pool, now)?;
            if first.is_none_or(|first| entry.until < first.until) {
                first = Some(entry);
            }
        }
        first.map(shortage)
    }

    /// Everything that is short now: what and until when, with AWS's words.
    pub fn current_all(&self, now: Timestamp) -> impl Iterator<Item = Shortage> {
        self.entries
            .values()
            .filter(move |entry| now < entry.until)
            .map(shortage)
    }

    fn of_pool(&self, pool: &Pool, now: Timestamp) -> Option<&Entry> {
        let quota = Scope::Quota {
            family: quota_family(&pool.instance_type),
            market: pool.market,
        };
        [Scope::Pool(pool.clone()), quota]
            .iter()
            .filter_map(|scope| self.current(scope, now))
            .max_by_key(|entry| entry.until)
    }

    fn current(&self, scope: &Scope, now: Timestamp) -> Option<&Entry> {
        self.entries.get(scope).filter(|entry| now < entry.until)
    }
}

fn shortage(entry: &Entry) -> Shortage {
    Shortage {
        until: entry.until,
        message: entry.message.as_str().into(),
    }
}

fn concerned(sources: &Sources, failure: &LaunchFailure) -> Vec<Scope> {
    match failure.cause {
        FailureCause::InsufficientCapacity | FailureCause::SpotPrice => {
            let named = Named::of(&failure.message);
            sources
                .pools
                .iter()
                .filter(|pool| named.may_be(pool))
                .cloned()
                .map(Scope::Pool)
                .collect()
        }
        FailureCause::QuotaExceeded => sources
            .pools
            .iter()
            .map(|pool| Scope::Quota {
                family: quota_family(&pool.instance_type),
                market: pool.market,
            })
            .collect(),
        FailureCause::NoFreeAddresses => sources
            .subnets
            .clone()
            .map(Scope::Subnets)
            .into_iter()
            .collect(),
        FailureCause::GroupMisconfigured | FailureCause::LaunchFailed => Vec::new(),
    }
}

fn message(scope: &Scope, words: &str) -> String {
    match scope {
        Scope::Pool(pool) => format!(
            "{} in {} ({}): {words}",
            pool.instance_type,
            pool.zone,
            pool.market.as_str()
        ),
        Scope::Quota { family, market } => {
            format!(
                "the quota of {family} instances ({}): {words}",
                market.as_str()
            )
        }
        Scope::Subnets(subnets) => format!("addresses of the subnets {subnets}: {words}"),
    }
}

impl Market {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnDemand => "on demand",
            Self::Spot => "spot",
        }
    }
}

/// What AWS's words name as short: "We currently do not have sufficient m5.large capacity in the
/// Availability Zone you requested (us-east-1a). … You can currently get m5.large capacity by …
/// choosing us-east-1b." The zones behind are those that have some.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named<'a> {
    instance_type: Option<&'a str>,
    zone: Option<&'a str>,
}

impl<'a> Named<'a> {
    fn of(message: &'a str) -> Self {
        let behind = |words: &str| Some(message.split_once(words)?.1);
        Self {
            instance_type: behind("do not have sufficient ")
                .and_then(|rest| rest.split_once(" capacity"))
                .map(|(name, _)| name)
                .filter(|name| name.contains('.') && !name.contains(' ')),
            zone: behind("you requested (")
                .and_then(|rest| rest.split_once(')'))
                .map(|(zone, _)| zone),
        }
    }

    fn may_be(&self, pool: &Pool) -> bool {
        self.instance_type
            .is_none_or(|name| name == pool.instance_type)
            && self.zone.is_none_or(|zone| zone == pool.zone)
    }
}

/// The quota of vCPUs that a type counts against, by AWS's groups of families.
fn quota_family(instance_type: &str) -> &'static str {
    let family = instance_type.split('.').next().unwrap_or_default();
    let is = |prefix: &str| {
        family
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    if family.starts_with("u-") || family.starts_with("u7") {
        "High Memory"
    } else if is("dl") {
        "DL"
    } else if is("f") {
        "F"
    } else if is("g") || is("gr") || is("vt") {
        "G and VT"
    } else if is("hpc") {
        "HPC"
    } else if is("inf") {
        "Inf"
    } else if is("p") {
        "P"
    } else if is("trn") {
        "Trn"
    } else if is("x") {
        "X"
    } else {
        "Standard (A, C, D, H, I, M, R, T, Z)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn pool(instance_type: &str, zone: &str) -> Pool {
        Pool {
            instance_type: instance_type.to_owned(),
            zone: zone.to_owned(),
            market: Market::OnDemand,
        }
    }

    fn sources(pools: &[(&str, &str)]) -> Sources {
        Sources {
            pools: pools.iter().map(|(name, zone)| pool(name, zone)).collect(),
            subnets: Some("subnet-1".to_owned()),
        }
    }

    fn failure(message: &str) -> LaunchFailure {
        LaunchFailure {
            cause: FailureCause::of(message),
            message: message.to_owned(),
            at: at(0),
        }
    }

    const SHORT: &str = "We currently do not have sufficient m5.large capacity in the Availability \
                         Zone you requested (us-east-1a). Our system will be working on \
                         provisioning additional capacity. You can currently get m5.large \
                         capacity by not specifying an Availability Zone in your request or \
                         choosing us-east-1b.";

    #[test]
    fn a_shortage_holds_for_every_group_that_draws_on_the_pool() {
        let mut shortages = Shortages::default();
        let one = sources(&[("m5.large", "us-east-1a")]);
        shortages.note(&one, &failure(SHORT), at(0));
        let short = shortages.of(&one, at(59)).unwrap();
        assert_eq!(short.until, at(60));
        assert!(short.message.contains("do not have sufficient m5.large"));
        assert!(shortages.of(&one, at(60)).is_none());
        for other in [("m5.large", "us-east-1b"), ("c5.large", "us-east-1a")] {
            assert!(shortages.of(&sources(&[other]), at(1)).is_none());
        }
        let spot = Sources {
            pools: vec![Pool {
                market: Market::Spot,
                ..pool("m5.large", "us-east-1a")
            }],
            subnets: None,
        };
        assert!(shortages.of(&spot, at(1)).is_none());
        // A group that has another way out is not short.
        let both = sources(&[("m5.large", "us-east-1a"), ("m5.large", "us-east-1b")]);
        assert!(shortages.of(&both, at(1)).is_none());
    }

    #[test]
    fn words_that_name_nothing_concern_all_of_a_group_s_pools() {
        let mut shortages = Shortages::default();
        let group = sources(&[("m5.large", "us-east-1a"), ("c5.large", "us-east-1b")]);
        let words = "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill";
        shortages.note(&group, &failure(words), at(0));
        assert!(shortages.of(&group, at(1)).is_some());
        assert!(
            shortages
                .of(&sources(&[("c5.large", "us-east-1b")]), at(1))
                .is_some()
        );
    }

    #[test]
    fn the_rest_grows_from_failure_to_failure_and_is_forgotten() {
        let mut shortages = Shortages::default();
        let group = sources(&[("m5.large", "us-east-1a")]);
        let mut now = 0;
        let mut rests = Vec::new();
        for _ in 0..6 {
            shortages.note(&group, &failure(SHORT), at(now));
            let until = shortages.of(&group, at(now)).unwrap().until;
            rests.push(until.duration_since(at(now)).as_secs());
            now = until.as_second() - at(0).as_second();
        }
        assert_eq!(rests, [60, 120, 240, 480, 960, 960]);
        shortages.note(&group, &failure(SHORT), at(now + 7200));
        let until = shortages.of(&group, at(now + 7200)).unwrap().until;
        assert_eq!(until, at(now + 7260));
        // Twice within one rest is once.
        shortages.note(&group, &failure(SHORT), at(now + 7230));
        assert_eq!(
            shortages.of(&group, at(now + 7230)).unwrap().until,
            at(now + 7290)
        );
    }

    #[test]
    fn an_instance_out_of_the_pool_ends_the_shortage() {
        let mut shortages = Shortages::default();
        let group = sources(&[("m5.large", "us-east-1a")]);
        shortages.note(&group, &failure(SHORT), at(0));
        shortages.relieve(&pool("m5.large", "us-east-1a"));
        assert!(shortages.of(&group, at(1)).is_none());
    }

    #[test]
    fn a_quota_holds_for_its_families_and_full_subnets_for_who_uses_them() {
        let mut shortages = Shortages::default();
        let words = "You have requested more vCPU capacity than your current vCPU limit of 32";
        let group = sources(&[("g5.xlarge", "us-east-1a")]);
        shortages.note(&group, &failure(words), at(0));
        let other = |name| sources(&[(name, "us-east-1b")]);
        assert!(shortages.of(&other("g4dn.xlarge"), at(1)).is_some());
        assert!(shortages.of(&other("m5.large"), at(1)).is_none());
        let words = "InsufficientFreeAddressesInSubnet: There are not enough free addresses";
        shortages.note(&group, &failure(words), at(0));
        assert!(shortages.of(&other("m5.large"), at(1)).is_some());
        let elsewhere = Sources {
            subnets: Some("subnet-2".to_owned()),
            ..other("m5.large")
        };
        assert!(shortages.of(&elsewhere, at(1)).is_none());
    }

    #[test]
    fn families_count_against_aws_s_quotas() {
        for (name, family) in [
            ("m7i-flex.large", "Standard (A, C, D, H, I, M, R, T, Z)"),
            ("g5g.xlarge", "G and VT"),
            ("gr6.4xlarge", "G and VT"),
            ("p5.48xlarge", "P"),
            ("inf2.xlarge", "Inf"),
            ("trn1n.32xlarge", "Trn"),
            ("x2idn.16xlarge", "X"),
            ("u-6tb1.metal", "High Memory"),
            ("dl1.24xlarge", "DL"),
            ("d3.xlarge", "Standard (A, C, D, H, I, M, R, T, Z)"),
        ] {
            assert_eq!(quota_family(name), family, "{name}");
        }
    }
}
