//! Reads a `KubeSchedulerConfiguration` (`kubescheduler.config.k8s.io/v1`).

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::Value;
use windlass_model::{
    InclusionPolicy, NodeSelector, NodeSelectorTerm, Requirement, RequirementOperator,
    SchedulerVersion, SpreadConstraint, WhenUnsatisfiable,
};

use super::form::{
    Configuration, DefaultConstraint, Named, NodeAffinityArgs, NodeResourcesFitArgs,
    NodeSelectorJson, PluginConfig, PluginSet, Plugins, PodTopologySpreadArgs,
    ProfileConfiguration, RequirementJson,
};
use super::{Profile, pre_filters_among};
use crate::plugin::Plugin;
use crate::spread::is_hard;

const API_VERSION: &str = "kubescheduler.config.k8s.io/v1";

/// Plugins that exist and never keep a pod off a node.
const OTHER_PLUGINS: [&str; 10] = [
    "SchedulingGates",
    "PrioritySort",
    "DefaultPreemption",
    "NodeResourcesBalancedAllocation",
    "ImageLocality",
    "DefaultBinder",
    "GangScheduling",
    "TopologyPlacementGenerator",
    "PodGroupPodsCount",
    "DynamicResourcesPlacement",
];

/// What is wrong with a scheduler configuration; printed as the cluster-autoscaler does.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// It is not in the form of a `KubeSchedulerConfiguration`.
    #[error("couldn't decode scheduler config")]
    Decode(#[source] serde_json::Error),
    /// It is another kind of object.
    #[error(
        "couldn't assert type as KubeSchedulerConfiguration: , gvk: {api_version}, Kind={kind}"
    )]
    Kind {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// There is not one profile.
    #[error(
        "unexpected scheduler config: expected one scheduler profile only (found {found} profiles)"
    )]
    Profiles {
        /// How many there are.
        found: usize,
    },
    /// It is refused.
    #[error("invalid KubeSchedulerConfiguration: {reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
}

impl Profile {
    /// The one profile of a `KubeSchedulerConfiguration` for a scheduler of `version`.
    pub fn from_configuration(
        configuration: &Value,
        version: SchedulerVersion,
    ) -> Result<Self, ConfigurationError> {
        let text_of = |field: &str| configuration[field].as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text_of("apiVersion"), text_of("kind"));
        if kind != "KubeSchedulerConfiguration" || api_version != API_VERSION {
            return Err(ConfigurationError::Kind { api_version, kind });
        }
        let configuration =
            Configuration::deserialize(configuration).map_err(ConfigurationError::Decode)?;
        let profiles = match configuration.profiles {
            // The scheduler's defaulting adds one profile to none.
            None => vec![ProfileConfiguration::default()],
            Some(profiles) if profiles.is_empty() => vec![ProfileConfiguration::default()],
            Some(profiles) => profiles,
        };
        let [configured] = &profiles[..] else {
            return Err(ConfigurationError::Profiles {
                found: profiles.len(),
            });
        };
        let mut profile = Self::new(version);
        if let Some(plugins) = &configured.plugins {
            profile.set_plugins(plugins)?;
        }
        for config in configured.plugin_config.iter().flatten() {
            profile.set_arguments(config)?;
        }
        Ok(profile)
    }

    fn set_plugins(&mut self, plugins: &Plugins) -> Result<(), ConfigurationError> {
        let multi_point = multi_point(&plugins.multi_point, self.version)?;
        self.filters = at_point(&plugins.filter, &multi_point)?;
        let participants = pre_filters_among(&multi_point, self.version);
        self.pre_filters = at_point(&plugins.pre_filter, &participants)?;
        self.pre_filters
            .retain(|plugin| plugin.has_pre_filter(self.version));
        Ok(())
    }

    fn set_arguments(&mut self, config: &PluginConfig) -> Result<(), ConfigurationError> {
        match config.name.as_str() {
            "NodeAffinity" => {
                let args: NodeAffinityArgs = arguments(config)?;
                self.added_affinity = args
                    .added_affinity
                    .and_then(|a| a.required_during_scheduling_ignored_during_execution)
                    .map(node_selector);
            }
            "NodeResourcesFit" => {
                let args: NodeResourcesFitArgs = arguments(config)?;
                self.ignored_resources = args.ignored_resources.unwrap_or_default();
                self.ignored_resource_groups = args.ignored_resource_groups.unwrap_or_default();
            }
            "PodTopologySpread" => {
                let args: PodTopologySpreadArgs = arguments(config)?;
                let is_list = args.defaulting_type.as_deref() == Some("List");
                if !is_list
                    && args
                        .default_constraints
                        .as_ref()
                        .is_some_and(|c| !c.is_empty())
                {
                    return invalid(
                        "defaultConstraints: Invalid value: when .defaultingType is not \"List\", \
                         must be empty",
                    );
                }
                self.default_constraints = args
                    .default_constraints
                    .unwrap_or_default()
                    .iter()
                    .map(spread_constraint)
                    .collect::<Result<Vec<_>, _>>()?;
                self.default_constraints.retain(is_hard);
            }
            _ => {}
        }
        Ok(())
    }
}

/// A plugin's arguments, whose kind, where it is said, must be the plugin's.
fn arguments<T: Default + for<'de> Deserialize<'de>>(
    config: &PluginConfig,
) -> Result<T, ConfigurationError> {
    let PluginConfig { name, args } = config;
    if args.is_null() {
        return Ok(T::default());
    }
    let expected = format!("{name}Args");
    let kind = args["kind"].as_str().unwrap_or_default();
    let arguments = if kind.is_empty() || kind == expected {
        T::deserialize(args)
    } else {
        Err(serde_json::Error::custom(format!(
            "args for plugin {name} were not of type {expected}.kubescheduler.config.k8s.io, got \
             {kind}"
        )))
    };
    arguments.map_err(ConfigurationError::Decode)
}

fn invalid<T>(reason: &str) -> Result<T, ConfigurationError> {
    Err(ConfigurationError::Invalid {
        reason: reason.to_owned(),
    })
}

/// A plugin that filters, or `None` for another one that exists.
fn plugin(name: &str) -> Result<Option<Plugin>, ConfigurationError> {
    let found = Plugin::in_order(SchedulerVersion::V1_37)
        .into_iter()
        .find(|plugin| plugin.name() == name);
    if found.is_none() && !OTHER_PLUGINS.contains(&name) {
        return invalid(&format!("plugin \"{name}\" does not exist"));
    }
    Ok(found)
}

fn plugins(named: Option<&Vec<Named>>) -> Result<Vec<Plugin>, ConfigurationError> {
    let mut plugins = Vec::new();
    for named in named.into_iter().flatten() {
        plugins.extend(plugin(&named.name)?);
    }
    Ok(plugins)
}

fn disables(set: &PluginSet, plugin: Plugin) -> bool {
    set.disabled
        .iter()
        .flatten()
        .any(|named| named.name == "*" || named.name == plugin.name())
}

/// The plugins of every point: the defaults that are not disabled, then those enabled besides. One
/// that is a default and enabled again keeps its place.
fn multi_point(
    set: &PluginSet,
    version: SchedulerVersion,
) -> Result<Vec<Plugin>, ConfigurationError> {
    let enabled = plugins(set.enabled.as_ref())?;
    let mut result: Vec<Plugin> = Plugin::in_order(version)
        .into_iter()
        .filter(|plugin| !disables(set, *plugin))
        .collect();
    for plugin in enabled {
        if !result.contains(&plugin) {
            result.push(plugin);
        }
    }
    Ok(result)
}

/// The order at a point: first the plugins named there that `multiPoint` has too, then the rest of
/// `multiPoint`, then those only named there.
fn at_point(set: &PluginSet, multi_point: &[Plugin]) -> Result<Vec<Plugin>, ConfigurationError> {
    let named = plugins(set.enabled.as_ref())?;
    let mut order: Vec<Plugin> = named
        .iter()
        .copied()
        .filter(|plugin| multi_point.contains(plugin))
        .collect();
    for plugin in multi_point {
        if !order.contains(plugin) && !disables(set, *plugin) {
            order.push(*plugin);
        }
    }
    for plugin in named {
        if !order.contains(&plugin) {
            order.push(plugin);
        }
    }
    Ok(order)
}

fn node_selector(json: NodeSelectorJson) -> NodeSelector {
    let terms = json.node_selector_terms.unwrap_or_default();
    NodeSelector {
        terms: terms
            .into_iter()
            .map(|term| NodeSelectorTerm {
                match_expressions: requirements(term.match_expressions),
                match_fields: requirements(term.match_fields),
            })
            .collect(),
    }
}

fn requirements(json: Option<Vec<RequirementJson>>) -> Vec<Requirement> {
    json.unwrap_or_default()
        .into_iter()
        .map(|requirement| Requirement {
            key: requirement.key,
            operator: RequirementOperator::from(requirement.operator.as_str()),
            values: requirement.values.unwrap_or_default(),
        })
        .collect()
}

fn spread_constraint(json: &DefaultConstraint) -> Result<SpreadConstraint, ConfigurationError> {
    let when_unsatisfiable = match json.when_unsatisfiable.as_str() {
        "DoNotSchedule" => WhenUnsatisfiable::DoNotSchedule,
        "ScheduleAnyway" => WhenUnsatisfiable::ScheduleAnyway,
        other => {
            return invalid(&format!(
                "defaultConstraints: Unsupported value: whenUnsatisfiable {other:?}"
            ));
        }
    };
    if json.label_selector.is_some() {
        return invalid(
            "defaultConstraints: Forbidden: labelSelector: constraint must not define a selector, \
             as they deduced for each pod",
        );
    }
    if json.max_skew <= 0 {
        return invalid("defaultConstraints: Invalid value: maxSkew must be greater than zero");
    }
    let policy = |text: Option<&str>, default| match text {
        Some("Honor") => InclusionPolicy::Honor,
        Some("Ignore") => InclusionPolicy::Ignore,
        _ => default,
    };
    Ok(SpreadConstraint {
        topology_key: json.topology_key.clone(),
        max_skew: json.max_skew,
        min_domains: json.min_domains.unwrap_or(1),
        when_unsatisfiable,
        selector: None,
        match_label_keys: Vec::new(),
        node_affinity_policy: policy(json.node_affinity_policy.as_deref(), InclusionPolicy::Honor),
        node_taints_policy: policy(json.node_taints_policy.as_deref(), InclusionPolicy::Ignore),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(profile: &str) -> Result<Profile, String> {
        let text = format!(
            r#"{{"apiVersion": "{API_VERSION}", "kind": "KubeSchedulerConfiguration",
                "parallelism": 16, "leaderElection": {{"leaderElect": true}},
                "profiles": [{profile}]}}"#
        );
        let configuration = serde_json::from_str(&text).unwrap();
        Profile::from_configuration(&configuration, SchedulerVersion::V1_37).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            error.to_string() + &cause.unwrap_or_default()
        })
    }

    #[test]
    fn what_has_no_bearing_on_filters_is_read_over() {
        let profile = r#"{"schedulerName": "mine", "percentageOfNodesToScore": 50,
            "plugins": {"score": {"disabled": [{"name": "*"}]},
                        "multiPoint": {"enabled": [{"name": "ImageLocality", "weight": 3}]}},
            "pluginConfig": [
                {"name": "NodeResourcesFit", "args": {"scoringStrategy": {"type": "MostAllocated"}}},
                {"name": "Mine", "args": {"anything": [1, 2]}},
                {}]}"#;
        assert_eq!(read(profile), Ok(Profile::new(SchedulerVersion::V1_37)));
    }

    #[test]
    fn what_is_misspelt_is_refused_and_named() {
        for (profile, reason) in [
            (r#"{"plugin": {}}"#, "unknown field `plugin`"),
            (
                r#"{"pluginConfig": [{"name": "NodeAffinity", "args": {"addedAfinity": {}}}]}"#,
                "unknown field `addedAfinity`",
            ),
            (
                r#"{"pluginConfig": [{"name": "NodeAffinity",
                                      "args": {"kind": "PodTopologySpreadArgs"}}]}"#,
                "args for plugin NodeAffinity were not of type \
                 NodeAffinityArgs.kubescheduler.config.k8s.io, got PodTopologySpreadArgs",
            ),
            (
                r#"{"pluginConfig": [{"name": "PodTopologySpread", "args":
                    {"defaultingType": "List", "defaultConstraints": [{"maxSkew": 1,
                     "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                     "labelSelector": {}}]}}]}"#,
                "must not define a selector",
            ),
        ] {
            let error = read(profile).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
