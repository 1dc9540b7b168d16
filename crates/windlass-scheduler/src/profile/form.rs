//! The form of a `KubeSchedulerConfiguration`. As the scheduler's own reading it refuses fields that
//! it does not know: what is misspelt would otherwise be without effect, and nobody would notice.
//! Source: `k8s.io/kube-scheduler/config/v1`.

#![expect(
    dead_code,
    reason = "the fields that have no bearing on filters are named, so that they may be there"
)]

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use windlass_model::SmolStr;

/// A field that may be there and is not looked at.
type Other = Option<IgnoredAny>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Configuration {
    api_version: Other,
    kind: Other,
    parallelism: Other,
    leader_election: Other,
    client_connection: Other,
    enable_profiling: Other,
    enable_contention_profiling: Other,
    percentage_of_nodes_to_score: Other,
    pod_initial_backoff_seconds: Other,
    pod_max_backoff_seconds: Other,
    pub(super) profiles: Option<Vec<ProfileConfiguration>>,
    extenders: Other,
    delay_cache_until_active: Other,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ProfileConfiguration {
    scheduler_name: Other,
    percentage_of_nodes_to_score: Other,
    pub(super) plugins: Option<Plugins>,
    pub(super) plugin_config: Option<Vec<PluginConfig>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Plugins {
    pub(super) multi_point: PluginSet,
    pub(super) pre_filter: PluginSet,
    pub(super) filter: PluginSet,
    pre_enqueue: Other,
    queue_sort: Other,
    post_filter: Other,
    pre_score: Other,
    score: Other,
    reserve: Other,
    permit: Other,
    pre_bind: Other,
    bind: Other,
    post_bind: Other,
    placement_generate: Other,
    placement_score: Other,
    pod_group_post_filter: Other,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PluginSet {
    pub(super) enabled: Option<Vec<Named>>,
    pub(super) disabled: Option<Vec<Named>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    #[serde(default)]
    pub(super) name: String,
    weight: Other,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PluginConfig {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) args: Value,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NodeAffinityArgs {
    api_version: Other,
    kind: Other,
    pub(super) added_affinity: Option<NodeAffinityJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NodeAffinityJson {
    pub(super) required_during_scheduling_ignored_during_execution: Option<NodeSelectorJson>,
    preferred_during_scheduling_ignored_during_execution: Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NodeSelectorJson {
    pub(super) node_selector_terms: Option<Vec<TermJson>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct TermJson {
    pub(super) match_expressions: Option<Vec<RequirementJson>>,
    pub(super) match_fields: Option<Vec<RequirementJson>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequirementJson {
    #[serde(default)]
    pub(super) key: SmolStr,
    #[serde(default)]
    pub(super) operator: String,
    pub(super) values: Option<Vec<SmolStr>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct NodeResourcesFitArgs {
    api_version: Other,
    kind: Other,
    pub(super) ignored_resources: Option<Vec<SmolStr>>,
    pub(super) ignored_resource_groups: Option<Vec<SmolStr>>,
    scoring_strategy: Other,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct PodTopologySpreadArgs {
    api_version: Other,
    kind: Other,
    pub(super) default_constraints: Option<Vec<DefaultConstraint>>,
    pub(super) defaulting_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DefaultConstraint {
    #[serde(default)]
    pub(super) max_skew: i32,
    #[serde(default)]
    pub(super) topology_key: SmolStr,
    #[serde(default)]
    pub(super) when_unsatisfiable: String,
    pub(super) label_selector: Other,
    pub(super) min_domains: Option<i32>,
    pub(super) node_affinity_policy: Option<String>,
    pub(super) node_taints_policy: Option<String>,
    match_label_keys: Other,
}
