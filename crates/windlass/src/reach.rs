//! How the API server and AWS are reached, by the flags of `windlass run`.

use std::sync::Arc;

use windlass_aws::{Membership, Settings, TemplateSettings};
use windlass_aws_client::{Observer, Options};
use windlass_config::{Config, Expander};
use windlass_kube::{ConnectOptions, OptionalFeatures, WatchOptions};
use windlass_model::SchedulerVersion;

/// The priority expander's `ConfigMap`. Source: `pkg/expander/priority`.
pub(crate) const PRIORITY_CONFIG_MAP: &str = "cluster-autoscaler-priority-expander";

/// Where the API server is.
pub(crate) fn api_server(config: &Config) -> ConnectOptions {
    let process = &config.process;
    ConnectOptions {
        kubeconfig: process.kubeconfig.clone(),
        kubernetes: process.kubernetes.clone(),
        queries_per_second: process.kube_client_qps,
        burst: process.kube_client_burst,
    }
}

/// Which objects decisions read.
pub(crate) fn objects(config: &Config, scheduler_version: SchedulerVersion) -> WatchOptions {
    let process = &config.process;
    let expanders = config.scale_up.expander.as_slice();
    WatchOptions {
        scheduler_version,
        namespace: process.namespace.clone(),
        status_config_map: process.status_config_map_name.clone(),
        priority_config_map: expanders
            .contains(&Expander::Priority)
            .then(|| PRIORITY_CONFIG_MAP.to_owned()),
        features: optional_features(config),
    }
}

fn optional_features(config: &Config) -> OptionalFeatures {
    let features = &config.features;
    OptionalFeatures {
        provisioning_requests: features.provisioning_requests,
        capacity_buffers: features.capacity_buffer_controller
            || features.capacity_buffer_pod_injection,
        capacity_quotas: features.capacity_quotas,
    }
}

/// Which groups there are, and how AWS is asked about them.
pub(crate) fn cloud(config: &Config, observer: Option<Arc<dyn Observer>>) -> Settings {
    let groups = &config.node_groups;
    Settings {
        client: Options {
            observer,
            ..Options::default()
        },
        membership: Membership::new(
            &groups.nodes,
            &groups.auto_discovery,
            config.aws.discovery_mode,
        ),
        templates: TemplateSettings {
            static_instance_types: config.aws.use_static_instance_list,
            max_pods: config.aws.max_pods,
            mixed: config.aws.mixed_template,
            ..TemplateSettings::default()
        },
    }
}
