//! Which group of the configuration file a run is about, what it is called in AWS, and what its nodes
//! would be like. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::bail;
use windlass_aws::instance_type::Catalogue;
use windlass_config::Templates;
use windlass_core::taints::is_left_out_of_templates;
use windlass_provision::cluster_config::{ClusterConfig, NodeTaint};
use windlass_provision::manifests::parsed_flags;
use windlass_provision::provision::desired::Zones;

/// A group of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Its name.
    pub(super) group: String,
    /// CPU of its smallest instance type, in thousandths; none where no type is known.
    pub(super) cpu_milli: Option<i64>,
    /// Taints that keep pods away from its nodes, as `key=value:Effect`.
    pub(super) taints: BTreeSet<String>,
}

/// What a group of the file is called in AWS, and so by the autoscaler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AwsNames {
    /// All of its names: several for a zonal group.
    Known(BTreeSet<String>),
    /// A zonal group's where AWS does not tell the zones of its subnets: all names that begin so. A
    /// checked file has no other group whose name does.
    Beginning(String),
}

impl AwsNames {
    /// Whether a group of this name is meant.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Known(names) => names.contains(name),
            Self::Beginning(prefix) => name.starts_with(prefix),
        }
    }

    /// Those that are not among the groups, if any is not.
    pub(super) fn without<T>(&self, groups: &BTreeMap<String, T>) -> Option<Self> {
        match self {
            Self::Known(names) => {
                let names = names.iter().filter(|name| !groups.contains_key(*name));
                let names: BTreeSet<String> = names.cloned().collect();
                (!names.is_empty()).then_some(Self::Known(names))
            }
            Self::Beginning(_) => {
                let is_there = groups.keys().any(|name| self.has(name));
                (!is_there).then(|| self.clone())
            }
        }
    }
}

impl fmt::Display for AwsNames {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                formatter.write_str(&names.join(", "))
            }
            Self::Beginning(prefix) => write!(formatter, "{prefix}*"),
        }
    }
}

/// The named group; else the first that takes pods without tolerations, if there is one.
pub(super) fn target(
    config: &ClusterConfig,
    named: Option<&str>,
) -> anyhow::Result<Option<Target>> {
    let found = config.groups().find(|it| match named {
        Some(named) => it.group.name == named,
        None => it.group.taints.is_empty(),
    });
    let Some(found) = found else {
        let Some(named) = named else {
            return Ok(None);
        };
        let groups: Vec<&str> = config.spec.groups.iter().map(|it| &*it.name).collect();
        bail!(
            "--group: the file has no group `{named}`; it has {}",
            groups.join(", ")
        );
    };
    let known = Catalogue::default();
    let types = found
        .instance_types
        .iter()
        .filter_map(|name| known.get(name));
    Ok(Some(Target {
        group: found.group.name.clone(),
        cpu_milli: types.map(|it| i64::from(it.v_cpus) * 1000).min(),
        taints: lasting(&found.group.taints, &parsed_flags(config).templates),
    }))
}

/// The taints without which the autoscaler expects no new node. Those of a node that has not started
/// yet are left to it: a pod that tolerates them would run too early.
fn lasting(taints: &[NodeTaint], flags: &Templates) -> BTreeSet<String> {
    taints
        .iter()
        .filter(|taint| taint.effect != "PreferNoSchedule")
        .filter(|taint| !is_left_out_of_templates(&taint.key, flags))
        .map(NodeTaint::to_string)
        .collect()
}

/// The names of a group of the file, by the zones of the subnets as far as AWS tells them.
pub(super) fn aws_names(config: &ClusterConfig, group: &str, zones: &Zones) -> AwsNames {
    let in_zones = config.groups_in(zones).into_iter();
    let known: BTreeSet<String> = in_zones
        .filter(|it| it.group.name == group)
        .map(|it| it.aws_name)
        .collect();
    match config.groups().find(|it| it.group.name == group) {
        // Zones are named after their region.
        Some(zonal) if known.is_empty() => {
            AwsNames::Beginning(format!("{}-{}", zonal.aws_name, config.spec.region))
        }
        _ => AwsNames::Known(known),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(groups: &str) -> ClusterConfig {
        let text = format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: Cluster\nspec:\n  cluster: prod\n  \
             region: us-west-2\n  endpoint: api:443\n  kubernetes: v1.36.3\n  \
             subnets: [subnet-1, subnet-2]\n  securityGroups: [sg-1]\n  \
             autoscaler: {{flags: ['--startup-taint=agent']}}\n  \
             defaults: {{image: {{id: ami-1}}, instanceType: m5.large}}\n  groups:\n{groups}"
        );
        ClusterConfig::read("cluster.yaml", &text).unwrap()
    }

    #[test]
    fn the_file_tells_which_group_and_how_big_its_nodes_are() {
        let config = config(
            "  - {name: big, min: 0, max: 1, instanceType: m5.2xlarge, taints: ['a=b:NoSchedule']}\n  \
             - {name: mixed, min: 0, max: 1, instances: {types: [m5.2xlarge, m5.xlarge]}}\n",
        );
        let check = |named, group: &str, cpu_milli, taints: &[&str]| {
            let expected = Target {
                group: group.to_owned(),
                cpu_milli: Some(cpu_milli),
                taints: taints.iter().map(|&it| it.to_owned()).collect(),
            };
            assert_eq!(target(&config, named).unwrap(), Some(expected));
        };
        check(None, "mixed", 4000, &[]);
        check(Some("big"), "big", 8000, &["a=b:NoSchedule"]);
        let error = target(&config, Some("bgi")).unwrap_err();
        assert!(error.to_string().contains("it has big, mixed"), "{error}");
    }

    #[test]
    fn taints_count_that_the_autoscaler_expects_of_a_new_node() {
        let config = config(
            "  - name: gpu\n    min: 0\n    max: 1\n    taints: ['gpu:NoExecute', 'soft=a:PreferNoSchedule', \
             'node-role.kubernetes.io/gpu:NoSchedule', 'agent=starting:NoSchedule', \
             'node.cloudprovider.kubernetes.io/uninitialized=true:NoSchedule']\n",
        );
        let target = target(&config, Some("gpu")).unwrap().unwrap();
        let taints: Vec<&String> = target.taints.iter().collect();
        assert_eq!(
            taints,
            ["gpu:NoExecute", "node-role.kubernetes.io/gpu:NoSchedule"]
        );
    }

    #[test]
    fn a_zonal_group_has_a_name_for_each_zone() {
        let config = config(
            "  - {name: web, min: 0, max: 1}\n  - {name: data, min: 0, max: 1, zonal: true}\n",
        );
        let zones: Zones = [("subnet-1", "us-west-2a"), ("subnet-2", "us-west-2b")]
            .map(|(subnet, zone)| (subnet.to_owned(), zone.to_owned()))
            .into();
        let names = |group, zones: &Zones| aws_names(&config, group, zones).to_string();
        assert_eq!(names("web", &zones), "prod-web");
        assert_eq!(
            names("data", &zones),
            "prod-data-us-west-2a, prod-data-us-west-2b"
        );
        assert_eq!(names("web", &Zones::new()), "prod-web");
        assert_eq!(names("data", &Zones::new()), "prod-data-us-west-2*");
        let by_prefix = aws_names(&config, "data", &Zones::new());
        assert!(by_prefix.has("prod-data-us-west-2-lax-1a"));
        assert!(!by_prefix.has("prod-database") && !by_prefix.has("prod-data"));
    }
}
