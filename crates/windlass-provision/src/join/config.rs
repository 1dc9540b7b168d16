use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{CommandConfig, LocalDisks};
use crate::labels::{self, LabelError};
use crate::pin::CaPin;

const API_VERSION: &str = "windlass.dev/v1alpha1";
const KIND: &str = "Node";
/// The label by which nodes tell their group.
pub(crate) const NODE_GROUP_LABEL: &str = "windlass.dev/node-group";

/// What an instance is told about the node that it is to become: `/etc/windlass/node.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeConfig {
    api_version: String,
    kind: String,
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the parameter with the join document; `/windlass/<cluster>/join` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// Name of the node group.
    pub node_group: String,
    /// What the node is called by.
    #[serde(default)]
    pub node_name: NodeNameRule,
    /// Labels that the kubelet sets, besides that of the group.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Taints that the node registers with.
    #[serde(default)]
    pub taints: Vec<TaintConfig>,
    /// Where more labels and taints come from.
    #[serde(default, skip_serializing_if = "LabelsFrom::is_default")]
    pub labels_from: LabelsFrom,
    /// Name of the instance's Auto Scaling group: with `labelsFrom: asg-tags`, where it is another
    /// than the lifecycle hook's, or the node group's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_scaling_group: Option<String>,
    /// What is done with the instance's own disks.
    #[serde(default, skip_serializing_if = "LocalDisks::is_none")]
    pub local_disks: LocalDisks,
    /// Commands before kubeadm runs, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_join: Vec<CommandConfig>,
    /// Commands after the node has joined, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_join: Vec<CommandConfig>,
    /// Socket of the container runtime.
    #[serde(default = "default_socket")]
    pub cri_socket: String,
    /// Who gives the node its cloud's properties.
    #[serde(default)]
    pub cloud_provider: CloudProviderSetting,
    /// CA pins that the instance was launched with: a second opinion on the parameter's.
    #[serde(default)]
    pub ca_pins: Vec<CaPin>,
    /// The launch's lifecycle hook, which is told how it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle_hook: Option<HookConfig>,
    /// What happens without a hook to an instance that did not join.
    #[serde(default)]
    pub on_failure: OnFailureSetting,
    /// What the kubelet keeps for the system.
    #[serde(default)]
    pub reserved: Reserved,
    /// Checks that do not stop the join, by kubeadm's names, or `all`.
    #[serde(default)]
    pub ignore_preflight_errors: Vec<String>,
    /// Longest time for joining; less than the lifecycle hook's.
    #[serde(default = "default_budget", with = "go_duration")]
    pub budget: Duration,
    /// Longest wait for the node to turn ready.
    #[serde(default = "default_ready_timeout", with = "go_duration")]
    pub ready_timeout: Duration,
}

/// What the node is called by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeNameRule {
    /// The first word of the metadata's `local-hostname`.
    #[default]
    PrivateDns,
    /// The instance's id: with resource-based naming only.
    InstanceId,
    /// What the host calls itself.
    Hostname,
}

/// Who gives the node its cloud's properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloudProviderSetting {
    /// A cloud controller manager in the cluster.
    #[default]
    External,
    /// Nobody.
    None,
}

/// Where labels and taints come from, besides the configuration, which has the last word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelsFrom {
    /// From nowhere.
    #[default]
    Config,
    /// From the `node-template` tags of the instance's Auto Scaling group, for groups that were not
    /// made by Windlass. The node's role then needs `autoscaling:DescribeTags`.
    AsgTags,
}

impl LabelsFrom {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_default(&self) -> bool {
        *self == Self::Config
    }
}

/// What happens to an instance that did not join.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailureSetting {
    /// Its group is told to replace it.
    #[default]
    Unhealthy,
    /// It powers off; the template's shutdown behaviour should be `terminate`.
    Terminate,
    /// It stays, to be looked at.
    Keep,
}

/// What the kubelet keeps for the system (`--kube-reserved`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reserved {
    /// Nothing, as kubeadm leaves it.
    #[default]
    None,
    /// By tiers of CPU and memory.
    Auto,
    /// Amounts by resource.
    #[serde(untagged)]
    Amounts(BTreeMap<String, String>),
}

/// A taint that the node registers with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaintConfig {
    /// Key.
    pub key: String,
    /// Value.
    #[serde(default)]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// A lifecycle hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HookConfig {
    /// Name of the Auto Scaling group.
    pub auto_scaling_group: String,
    /// Name of the hook.
    pub name: String,
}

/// Why a configuration is none.
#[derive(Debug, thiserror::Error)]
pub enum NodeConfigError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Yaml(#[source] Box<serde_saphyr::Error>),
    /// Another kind of document.
    #[error("it is {found}, not {API_VERSION} {KIND}")]
    Kind {
        /// What it says it is.
        found: String,
    },
    /// A field has a value that it must not have.
    #[error("{field}: `{value}` is not {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A label or taint that would stop the kubelet.
    #[error(transparent)]
    Label(#[from] LabelError),
}

impl NodeConfig {
    /// The least that a node must be told; everything else is a default.
    pub fn new(cluster: &str, node_group: &str) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            cluster: cluster.to_owned(),
            parameter: None,
            node_group: node_group.to_owned(),
            node_name: NodeNameRule::default(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            labels_from: LabelsFrom::default(),
            auto_scaling_group: None,
            local_disks: LocalDisks::None,
            pre_join: Vec::new(),
            post_join: Vec::new(),
            cri_socket: default_socket(),
            cloud_provider: CloudProviderSetting::default(),
            ca_pins: Vec::new(),
            lifecycle_hook: None,
            on_failure: OnFailureSetting::default(),
            reserved: Reserved::default(),
            ignore_preflight_errors: Vec::new(),
            budget: default_budget(),
            ready_timeout: default_ready_timeout(),
        }
    }

    /// Reads a file's text.
    ///
    /// # Errors
    ///
    /// When it is none, or something in it would stop the node from joining.
    pub fn from_yaml(text: &str) -> Result<Self, NodeConfigError> {
        let config: Self =
            serde_saphyr::from_str(text).map_err(|error| NodeConfigError::Yaml(Box::new(error)))?;
        config.validate()?;
        Ok(config)
    }

    /// The file's text, in JSON, which is YAML too.
    #[expect(
        clippy::missing_panics_doc,
        reason = "names and texts can always be written"
    )]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("names and texts can always be written")
    }

    /// Name of the parameter.
    pub fn parameter(&self) -> String {
        self.parameter
            .clone()
            .unwrap_or_else(|| format!("/windlass/{}/join", self.cluster))
    }

    /// Name of the Auto Scaling group, as far as it is told.
    pub fn auto_scaling_group(&self) -> &str {
        let hook = self.lifecycle_hook.as_ref();
        let of_hook = hook.map(|hook| &hook.auto_scaling_group);
        let named = self.auto_scaling_group.as_ref().or(of_hook);
        named.unwrap_or(&self.node_group)
    }

    /// Holds every field against what it may be.
    ///
    /// # Errors
    ///
    /// For the first that is wrong.
    pub fn validate(&self) -> Result<(), NodeConfigError> {
        if self.api_version != API_VERSION || self.kind != KIND {
            return Err(NodeConfigError::Kind {
                found: format!("{} {}", self.api_version, self.kind),
            });
        }
        plain("cluster", &self.cluster, "-_.")?;
        plain("parameter", &self.parameter(), "-_./")?;
        plain("criSocket", &self.cri_socket, "-_./:")?;
        if let Some(hook) = &self.lifecycle_hook {
            plain("lifecycleHook.name", &hook.name, "-_/")?;
            plain(
                "lifecycleHook.autoScalingGroup",
                &hook.auto_scaling_group,
                "-_.",
            )?;
        }
        plain("autoScalingGroup", self.auto_scaling_group(), "-_.")?;
        for command in &self.pre_join {
            command.check("preJoin")?;
        }
        for command in &self.post_join {
            command.check("postJoin")?;
        }
        labels::check(NODE_GROUP_LABEL, &self.node_group)?;
        for (key, value) in &self.labels {
            labels::check_own_label(key, value)?;
        }
        for TaintConfig { key, value, effect } in &self.taints {
            labels::check_taint(key, value, effect)?;
        }
        for name in &self.ignore_preflight_errors {
            plain("ignorePreflightErrors", name, "-_.[]")?;
        }
        if let Reserved::Amounts(amounts) = &self.reserved {
            for (resource, amount) in amounts {
                plain("reserved", resource, "-./")?;
                plain("reserved", amount, ".")?;
            }
        }
        if self.budget.is_zero() {
            return Err(NodeConfigError::Field {
                field: "budget",
                value: "0".to_owned(),
                expected: "a time above 0",
            });
        }
        Ok(())
    }
}

/// A name that no file format and no command line reads as something else.
fn plain(field: &'static str, value: &str, more: &str) -> Result<(), NodeConfigError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
    if !value.is_empty() && value.chars().all(allowed) {
        return Ok(());
    }
    Err(NodeConfigError::Field {
        field,
        value: value.to_owned(),
        expected: "made of letters, digits and a few signs such as `-` and `.`",
    })
}

fn default_socket() -> String {
    "unix:///run/containerd/containerd.sock".to_owned()
}

fn default_budget() -> Duration {
    Duration::from_mins(12)
}

fn default_ready_timeout() -> Duration {
    Duration::from_mins(3)
}

/// Durations as Go writes them, such as `3m0s`.
pub(crate) mod go_duration {
    use super::{Deserialize, Deserializer, Duration, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let duration =
            windlass_model::Duration::try_from(*duration).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&windlass_model::format_go_duration(duration))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        let duration =
            windlass_model::parse_go_duration(&text).map_err(serde::de::Error::custom)?;
        Duration::try_from(duration)
            .map_err(|_| serde::de::Error::custom(format!("`{text}` is below 0")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut config = NodeConfig::new("prod", "workers-a");
        config.labels.insert("team".to_owned(), "web".to_owned());
        config.taints.push(TaintConfig {
            key: "dedicated".to_owned(),
            value: "web".to_owned(),
            effect: "NoSchedule".to_owned(),
        });
        config.reserved = Reserved::Auto;
        assert_eq!(NodeConfig::from_yaml(&config.to_json()).unwrap(), config);
        let amounts = [("cpu".to_owned(), "100m".to_owned())].into();
        config.reserved = Reserved::Amounts(amounts);
        assert_eq!(NodeConfig::from_yaml(&config.to_json()).unwrap(), config);
    }

    const LEAST: &str =
        "apiVersion: windlass.dev/v1alpha1\nkind: Node\ncluster: prod\nnodeGroup: a\n";

    #[test]
    fn cluster_and_group_are_enough() {
        let config = NodeConfig::from_yaml(LEAST).unwrap();
        assert_eq!(config, NodeConfig::new("prod", "a"));
        assert_eq!(config.parameter(), "/windlass/prod/join");
        let more = NodeConfig::from_yaml(&format!("{LEAST}readyTimeout: 90s\nreserved: auto\n"));
        assert_eq!(more.unwrap().ready_timeout, Duration::from_secs(90));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |more: &str| {
            let error = NodeConfig::from_yaml(&format!("{LEAST}{more}\n")).unwrap_err();
            let source = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error} {}", source.unwrap_or_default())
        };
        assert!(refused("labels: {node-role.kubernetes.io/x: y}").contains("may not set"));
        assert!(refused("parameter: 'a b'").contains("parameter: `a b`"));
        assert!(refused("budget: 0s").contains("budget"));
        assert!(refused("budget: soon").contains("soon"));
        assert!(refused("nodeNme: hostname").contains("nodeNme"));
        assert!(refused("taints: [{key: a, effect: Never}]").contains("a=:Never"));
        let other = NodeConfig::from_yaml(&LEAST.replace("Node", "Pod")).unwrap_err();
        assert!(other.to_string().contains("v1alpha1 Pod"), "{other}");
    }
}
