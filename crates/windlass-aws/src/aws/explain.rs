//! What is known of a group and from where, for `windlass explain group`.

use std::fmt::Write;

use serde::Serialize;

use super::Aws;
use super::templates::PRICE;
use crate::discovery::Membership;
use crate::group::Group;
use crate::template::Origin;

/// A group with its effective template and the source of each value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupExplanation {
    /// The group's name.
    pub name: String,
    /// The flag that found it.
    pub found_by: String,
    /// The size that scale-down stops at.
    pub min_size: i64,
    /// The size that scale-up stops at.
    pub max_size: i64,
    /// How many instances are wanted.
    pub desired: u32,
    /// How many count towards it.
    pub live: u32,
    /// What its next instance may come out of: type, zone, purchase option.
    pub pools: Vec<String>,
    /// Why AWS would give it nothing now.
    pub shortage: Option<String>,
    /// What people should know of it.
    pub conditions: Vec<String>,
    /// What a new node would be, value by value with its source.
    pub template: Vec<Origin>,
}

impl Aws {
    /// All that is known of a group; none if it is not one of the cluster's.
    pub fn explain(&self, group: &str) -> Option<GroupExplanation> {
        let conditions = self
            .conditions()
            .into_iter()
            .filter(|(name, _)| name == group)
            .map(|(_, condition)| condition)
            .collect();
        let template = self.template_origins(group);
        let now = self.inner.client.now();
        let state = self.state();
        let seen = state.groups.get(group)?;
        let limits = seen.limits();
        Some(GroupExplanation {
            name: group.to_owned(),
            found_by: found_by(state.groups.membership(), seen),
            min_size: limits.min,
            max_size: limits.max,
            desired: seen.desired(),
            live: seen.live(),
            pools: seen
                .sources()
                .pools
                .iter()
                .map(|pool| {
                    let market = pool.market.as_str();
                    format!("{} in {}, {market}", pool.instance_type, pool.zone)
                })
                .collect(),
            shortage: state
                .shortages
                .of(seen.sources(), now)
                .map(|shortage| format!("until {}: {}", shortage.until, shortage.message)),
            conditions,
            template,
        })
    }
}

/// Which flag it is that makes a group the cluster's.
fn found_by(membership: &Membership, group: &Group) -> String {
    if membership.limits(group.name()).is_some() {
        return "--nodes".to_owned();
    }
    let tags = group
        .description()
        .map(|description| description.tags.as_slice())
        .unwrap_or_default();
    let query = membership.queries().iter().find(|query| {
        query.iter().all(|wanted| {
            tags.iter().any(|tag| {
                tag.key == wanted.key
                    && wanted
                        .value
                        .as_ref()
                        .is_none_or(|value| *value == tag.value)
            })
        })
    });
    let Some(query) = query else {
        return "tags that it carries no more".to_owned();
    };
    let tags: Vec<String> = query
        .iter()
        .map(|tag| match &tag.value {
            Some(value) => format!("{}={value}", tag.key),
            None => tag.key.clone(),
        })
        .collect();
    format!("--node-group-auto-discovery, tags {}", tags.join(", "))
}

impl GroupExplanation {
    /// Where a value of what a new node would be is from: the last that was laid on counts, and a
    /// tag's amount over all.
    pub fn source_of(&self, part: &str) -> Option<&'static str> {
        let by_tag = ["capacity ", "allocatable "]
            .iter()
            .find_map(|what| part.strip_prefix(what))
            .map(|name| format!("capacity and allocatable {name}"));
        let last = |part: &str| {
            let mut origins = self.template.iter().rev();
            origins.find(|origin| origin.part == part)
        };
        by_tag
            .and_then(|part| last(&part))
            .or_else(|| last(part))
            .map(|origin| origin.source)
    }

    /// For reading; without the new node's values.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "group {}: {} of {} to {}, {} instances; found by {}",
            self.name, self.desired, self.min_size, self.max_size, self.live, self.found_by
        );
        if let Some(shortage) = &self.shortage {
            let _ = writeln!(text, "out of stock {shortage}");
        }
        for condition in &self.conditions {
            let _ = writeln!(text, "note: {condition}");
        }
        for pool in &self.pools {
            let _ = writeln!(text, "pool: {pool}");
        }
        let price = self.template.iter().find(|origin| origin.part == PRICE);
        if let Some(price) = price {
            let _ = writeln!(text, "price: {} by {}", price.value, price.source);
        }
        text
    }
}
