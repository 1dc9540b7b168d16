//! Which groups are the cluster's. Pure.

use std::collections::BTreeMap;

use windlass_aws_client::autoscaling::TagFilter;
use windlass_config::{DiscoveryMode, DiscoverySpec, NodeGroupSpec};

/// The groups named, and the queries that find the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Groups by name with limits of their own.
    named: BTreeMap<String, Limits>,
    /// Each query finds groups that carry all its tags; a group found by any is the cluster's.
    queries: Vec<Vec<TagFilter>>,
}

/// Smallest and largest size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Smallest.
    pub min: i64,
    /// Largest.
    pub max: i64,
}

impl Membership {
    /// Of the flags `--nodes`, `--node-group-auto-discovery` and `--aws-discovery-mode`.
    ///
    /// Of two `--nodes` with one name the first counts, as in Go. In mode `all` the flags' tags
    /// make one query; of two values for one key the last counts, as in Go.
    pub fn new(nodes: &[NodeGroupSpec], discovery: &[DiscoverySpec], mode: DiscoveryMode) -> Self {
        let mut named = BTreeMap::new();
        for spec in nodes {
            named.entry(spec.name.clone()).or_insert(Limits {
                min: spec.min_size,
                max: spec.max_size,
            });
        }
        let query = |specs: &[DiscoverySpec]| -> Vec<TagFilter> {
            let tags: BTreeMap<String, Option<String>> = specs
                .iter()
                .flat_map(|spec| &spec.tags)
                .map(|tag| (tag.key.clone(), tag.value.clone()))
                .collect();
            tags.into_iter()
                .map(|(key, value)| TagFilter { key, value })
                .collect()
        };
        let queries = match mode {
            DiscoveryMode::All => vec![query(discovery)],
            DiscoveryMode::Any => discovery
                .iter()
                .map(|spec| query(std::slice::from_ref(spec)))
                .collect(),
        };
        Self {
            named,
            queries: queries
                .into_iter()
                .filter(|tags| !tags.is_empty())
                .collect(),
        }
    }

    /// Names of the groups named.
    pub fn names(&self) -> Vec<String> {
        self.named.keys().cloned().collect()
    }

    /// The limits of a group named.
    pub fn limits(&self, name: &str) -> Option<Limits> {
        self.named.get(name).copied()
    }

    /// The queries of discovery.
    pub fn queries(&self) -> &[Vec<TagFilter>] {
        &self.queries
    }

    /// A line that says what is searched for, for the start of the log.
    pub fn summary(&self) -> String {
        let queries = self.queries.iter();
        let mut parts: Vec<String> = queries
            .map(|tags| format!("groups that carry {}", describe(tags)))
            .collect();
        if !self.named.is_empty() {
            parts.push(format!("groups named {}", self.names().join(", ")));
        }
        if parts.is_empty() {
            return "no groups".to_owned();
        }
        parts.join("; ")
    }
}

/// The tags of a query, in words.
pub fn describe(tags: &[TagFilter]) -> String {
    let tags: Vec<String> = tags
        .iter()
        .map(|tag| match &tag.value {
            Some(value) => format!("{}={value}", tag.key),
            None => tag.key.clone(),
        })
        .collect();
    tags.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discovery(tags: &[(&str, Option<&str>)]) -> DiscoverySpec {
        DiscoverySpec {
            tags: tags
                .iter()
                .map(|(key, value)| windlass_config::TagFilter {
                    key: (*key).to_owned(),
                    value: value.map(ToOwned::to_owned),
                })
                .collect(),
        }
    }

    #[test]
    fn several_flags_narrow_by_default_and_widen_on_demand() {
        let specs = [
            discovery(&[("enabled", None)]),
            discovery(&[("prod", Some("owned"))]),
        ];
        let all = Membership::new(&[], &specs, DiscoveryMode::All);
        assert_eq!(all.summary(), "groups that carry enabled and prod=owned");
        let any = Membership::new(&[], &specs, DiscoveryMode::Any);
        assert_eq!(
            any.summary(),
            "groups that carry enabled; groups that carry prod=owned"
        );
    }

    #[test]
    fn the_first_limits_of_a_name_count() {
        let spec = |min_size, max_size| NodeGroupSpec {
            min_size,
            max_size,
            name: "workers".to_owned(),
        };
        let membership = Membership::new(&[spec(1, 5), spec(0, 9)], &[], DiscoveryMode::All);
        assert_eq!(
            membership.limits("workers"),
            Some(Limits { min: 1, max: 5 })
        );
        assert!(membership.queries().is_empty());
    }
}
