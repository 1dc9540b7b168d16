//! How the API server and AWS are reached, by the flags of `windlass run`.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use tracing::warn;
use windlass_aws::cloud_config::CloudConfig;
use windlass_aws::price::Prices;
use windlass_aws::{ActionSettings, Membership, Settings, TemplateSettings};
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
pub(crate) fn cloud(config: &Config, observer: Option<Arc<dyn Observer>>) -> Result<Settings> {
    let groups = &config.node_groups;
    let cloud_config = cloud_config(config.process.cloud_config.as_deref())?;
    Ok(Settings {
        client: Options {
            observer,
            fallback_region: cloud_config.region,
            endpoint_overrides: cloud_config.endpoints,
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
            prices: prices(config.aws.price_file.as_deref())?,
            ask_prices: config.aws.ask_prices,
            with_volume_limits: config.features.csi_node_aware_scheduling,
        },
        actions: ActionSettings {
            launch_api: config.aws.launch_api,
            protect_from_scale_in: config.aws.protect_from_scale_in,
            provision_time: config.cluster_health.max_node_provision_time,
        },
    })
}

/// Reads the file of `--cloud-config`.
fn cloud_config(path: Option<&str>) -> Result<CloudConfig> {
    let Some(path) = path else {
        return Ok(CloudConfig::default());
    };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("read the file of --cloud-config, `{path}`"))?;
    let read = CloudConfig::parse(&text)
        .with_context(|| format!("understand the file of --cloud-config, `{path}`"))?;
    for warning in &read.warnings {
        warn!(file = path, "{warning}");
    }
    Ok(read)
}

/// Reads the file of `--aws-price-file`.
fn prices(path: Option<&str>) -> Result<Prices> {
    let Some(path) = path else {
        return Ok(Prices::default());
    };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("read the file of --aws-price-file, `{path}`"))?;
    Prices::read(&text)
        .with_context(|| format!("understand the file of --aws-price-file, `{path}`"))
}
