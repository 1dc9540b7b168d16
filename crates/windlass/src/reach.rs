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

#[cfg(test)]
mod tests {
    use windlass_config::{AwsLaunchApi, AwsMaxPods, AwsMixedTemplate};

    use super::*;

    fn settings(flags: &[&str]) -> Settings {
        let (config, _) = Config::parse(flags).unwrap();
        cloud(&config, None).unwrap()
    }

    #[test]
    fn every_flag_of_aws_reaches_the_provider() {
        let prices = std::env::temp_dir().join(format!("prices-{}", std::process::id()));
        std::fs::write(&prices, "type m5.large 7.00\n").unwrap();
        let by_default = settings(&[]);
        let set = settings(&[
            "--node-group-auto-discovery=asg:tag=one",
            "--node-group-auto-discovery=asg:tag=other",
            "--aws-discovery-mode=any",
            "--aws-use-static-instance-list",
            "--aws-mixed-template=max",
            "--aws-max-pods=prefix",
            "--aws-launch-api=launch-instances",
            "--aws-protect-from-scale-in",
            &format!("--aws-price-file={}", prices.display()),
            "--aws-ask-prices",
            "--enable-csi-node-aware-scheduling",
            "--max-node-provision-time=7m",
        ]);
        std::fs::remove_file(&prices).unwrap();
        assert_eq!(set.membership.queries().len(), 2);
        let templates = (&by_default.templates, &set.templates);
        assert!(!templates.0.static_instance_types && templates.1.static_instance_types);
        assert_eq!(templates.0.mixed, AwsMixedTemplate::Min);
        assert_eq!(templates.1.mixed, AwsMixedTemplate::Max);
        assert_eq!(templates.0.max_pods, AwsMaxPods::Auto);
        assert_eq!(templates.1.max_pods, AwsMaxPods::Prefix);
        assert_ne!(templates.0.prices, templates.1.prices);
        assert!(!templates.0.ask_prices && templates.1.ask_prices);
        assert!(!templates.0.with_volume_limits && templates.1.with_volume_limits);
        let actions = (by_default.actions, set.actions);
        assert_eq!(actions.0.launch_api, AwsLaunchApi::SetDesiredCapacity);
        assert_eq!(actions.1.launch_api, AwsLaunchApi::LaunchInstances);
        assert!(!actions.0.protect_from_scale_in && actions.1.protect_from_scale_in);
        assert_eq!(actions.1.provision_time.as_mins(), 7);
    }

    #[test]
    fn the_cloud_config_names_region_and_endpoints() {
        let path = std::env::temp_dir().join(format!("cloud-config-{}", std::process::id()));
        let text = "[Global]\nZone=eu-west-1a\n[ServiceOverride \"as\"]\nService=autoscaling\n\
                    Region=eu-west-1\nURL=https://as.example.com\nSigningRegion=eu-west-1\n";
        std::fs::write(&path, text).unwrap();
        let read = settings(&[&format!("--cloud-config={}", path.display())]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read.client.fallback_region.as_deref(), Some("eu-west-1"));
        assert_eq!(read.client.endpoint_overrides.len(), 1);
        let (config, _) = Config::parse(["--cloud-config=/nowhere/to/be/found"]).unwrap();
        let error = format!("{:#}", cloud(&config, None).unwrap_err());
        assert!(error.contains("--cloud-config") && error.contains("/nowhere/to/be/found"));
    }
}
