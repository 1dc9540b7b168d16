//! What a group's tags say of the nodes it would make, and of how it is to be treated.

use windlass_aws_client::autoscaling::Tag;
use windlass_config::grammar::{parse_bool, parse_float};
use windlass_model::{
    Effect, GroupOptions, Labels, Quantity, ResourceList, Taint, parse_go_duration,
};

const LABEL: &str = "k8s.io/cluster-autoscaler/node-template/label/";
const TAINT: &str = "k8s.io/cluster-autoscaler/node-template/taint/";
const RESOURCES: &str = "k8s.io/cluster-autoscaler/node-template/resources/";
const OPTIONS: &str = "k8s.io/cluster-autoscaler/node-template/autoscaling-options/";

/// Tags that EKS puts on the groups that it makes.
const EKS_CLUSTER: &str = "eks:cluster-name";
const EKS_NODEGROUP: &str = "eks:nodegroup-name";

/// The tags, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupTags {
    /// Labels of its nodes.
    pub labels: Labels,
    /// Taints of its nodes.
    pub taints: Vec<Taint>,
    /// Resources of its nodes; they win over everything else that is known.
    pub resources: ResourceList,
    /// Its own settings.
    pub options: GroupOptions,
    /// The EKS node group behind it.
    pub eks: Option<EksNodegroupName>,
    /// Tags that make no sense, for people.
    pub problems: Vec<TagProblem>,
}

/// Cluster and name of an EKS managed node group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EksNodegroupName {
    /// The cluster.
    pub cluster: String,
    /// The node group.
    pub nodegroup: String,
}

/// A tag whose value makes no sense; it counts as absent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tag `{key}`: `{value}` is not {expected}")]
pub struct TagProblem {
    /// The tag's key.
    pub key: String,
    /// The tag's value.
    pub value: String,
    /// What it should be.
    pub expected: &'static str,
}

impl GroupTags {
    /// Reads the tags of a group, or of an EKS node group, which may carry the same.
    ///
    /// Unlike the Go autoscaler, a key must begin with its prefix, not hold it somewhere; a
    /// taint's value is cut at the last colon and its effect must be one; and `eks:` tags are
    /// AWS's own marks, not labels that no node ever has.
    pub fn read(tags: &[Tag]) -> Self {
        let mut read = Self::default();
        for Tag { key, value, .. } in tags {
            if let Some(name) = key.strip_prefix(LABEL) {
                if !name.is_empty() {
                    read.labels.insert(name, value.as_str());
                }
            } else if let Some(taint) = key.strip_prefix(TAINT) {
                match read_taint(taint, value) {
                    Some(taint) => read.taints.push(taint),
                    None => read.problem(
                        key,
                        value,
                        "VALUE:EFFECT, with NoSchedule, NoExecute or PreferNoSchedule",
                    ),
                }
            } else if let Some(resource) = key.strip_prefix(RESOURCES) {
                match value.parse::<Quantity>() {
                    Ok(quantity) if !resource.is_empty() => {
                        read.resources.insert(resource, quantity);
                    }
                    _ => read.problem(key, value, "a quantity, such as 100Gi"),
                }
            } else if let Some(option) = key.strip_prefix(OPTIONS) {
                read.option(option, key, value);
            }
        }
        read.taints.sort();
        read.eks = eks_name(tags);
        read
    }

    fn option(&mut self, option: &str, key: &str, value: &str) {
        let expected = match option {
            "scaledownutilizationthreshold" => set(
                &mut self.options.scale_down_utilization_threshold,
                share(value),
            ),
            "scaledowngpuutilizationthreshold" => set(
                &mut self.options.scale_down_gpu_utilization_threshold,
                share(value),
            ),
            "scaledownunneededtime" => {
                set(&mut self.options.scale_down_unneeded_time, duration(value))
            }
            "scaledownunreadytime" => {
                set(&mut self.options.scale_down_unready_time, duration(value))
            }
            "maxnodeprovisiontime" => {
                set(&mut self.options.max_node_provision_time, duration(value))
            }
            "maxnodestartuptime" => set(&mut self.options.max_node_startup_time, duration(value)),
            "ignoredaemonsetsutilization" => set(
                &mut self.options.ignore_daemonsets_utilization,
                parse_bool(value).map_err(|_| "a boolean: true or false"),
            ),
            _ => None,
        };
        if let Some(expected) = expected {
            self.problem(key, value, expected);
        }
    }

    fn problem(&mut self, key: &str, value: &str, expected: &'static str) {
        self.problems.push(TagProblem {
            key: key.to_owned(),
            value: value.to_owned(),
            expected,
        });
    }
}

/// Keeps what was read, or gives what was expected instead.
fn set<T>(option: &mut Option<T>, read: Result<T, &'static str>) -> Option<&'static str> {
    match read {
        Ok(value) => {
            *option = Some(value);
            None
        }
        Err(expected) => Some(expected),
    }
}

fn share(value: &str) -> Result<f64, &'static str> {
    match parse_float(value) {
        Ok(share) if share.is_finite() => Ok(share),
        _ => Err("a number, such as 0.5"),
    }
}

fn duration(value: &str) -> Result<windlass_model::Duration, &'static str> {
    parse_go_duration(value).map_err(|_| "a duration, such as 10m0s")
}

/// Reads `VALUE:EFFECT`; the value may be empty.
fn read_taint(key: &str, text: &str) -> Option<Taint> {
    let (value, effect) = text.rsplit_once(':')?;
    let effect = Effect::from(effect);
    if key.is_empty() || matches!(effect, Effect::Other(_)) {
        return None;
    }
    Some(Taint {
        key: key.into(),
        value: value.into(),
        effect,
        time_added: None,
    })
}

fn eks_name(tags: &[Tag]) -> Option<EksNodegroupName> {
    let find = |key: &str| {
        tags.iter()
            .find(|tag| tag.key == key && !tag.value.is_empty())
            .map(|tag| tag.value.clone())
    };
    Some(EksNodegroupName {
        cluster: find(EKS_CLUSTER)?,
        nodegroup: find(EKS_NODEGROUP)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: impl Into<String>, value: &str) -> Tag {
        Tag {
            key: key.into(),
            value: value.to_owned(),
            propagate_at_launch: true,
        }
    }

    fn taint_text(taint: &Taint) -> String {
        format!("{}={}:{}", taint.key, taint.value, taint.effect.as_str())
    }

    /// Point 12 of the acceptance checklist.
    #[test]
    fn checklist_12_labels_taints_resources_and_options() {
        let read = GroupTags::read(&[
            tag(format!("{LABEL}foo"), "bar"),
            tag(format!("x-{LABEL}other"), "bar"),
            tag("eks:cluster-name", "prod"),
            tag("eks:nodegroup-name", "workers"),
            tag(format!("{TAINT}dedicated"), "a:b:NoSchedule"),
            tag(format!("{TAINT}empty"), ":NoExecute"),
            tag(format!("{TAINT}bad"), "true:NoScheduleX"),
            tag(format!("{TAINT}worse"), "NoSchedule"),
            tag(format!("{RESOURCES}ephemeral-storage"), "20G"),
            tag(format!("{RESOURCES}cpu"), "lots"),
            tag(format!("{OPTIONS}scaledownunneededtime"), "2h15m"),
            tag(format!("{OPTIONS}scaledownutilizationthreshold"), "half"),
            tag(format!("{OPTIONS}ignoredaemonsetsutilization"), "T"),
            tag(format!("{OPTIONS}maxnodeprovisiontime"), "300ms"),
            tag(format!("{OPTIONS}unheardof"), "x"),
        ]);
        assert_eq!(read.labels.get("foo").unwrap(), "bar");
        assert_eq!(read.labels.len(), 1);
        let taints: Vec<String> = read.taints.iter().map(taint_text).collect();
        assert_eq!(taints, ["dedicated=a:b:NoSchedule", "empty=:NoExecute"]);
        assert_eq!(read.resources.get("ephemeral-storage"), "20G".parse().ok());
        assert_eq!(read.resources.len(), 1);
        assert_eq!(
            read.options,
            GroupOptions {
                scale_down_unneeded_time: parse_go_duration("2h15m").ok(),
                max_node_provision_time: parse_go_duration("300ms").ok(),
                ignore_daemonsets_utilization: Some(true),
                ..GroupOptions::default()
            }
        );
        assert_eq!(read.eks.unwrap().nodegroup, "workers");
        let problems: Vec<&str> = read
            .problems
            .iter()
            .map(|problem| problem.value.as_str())
            .collect();
        assert_eq!(problems, ["true:NoScheduleX", "NoSchedule", "lots", "half"]);
    }
}
