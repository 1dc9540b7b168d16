use std::collections::BTreeMap;

use serde_json::{Value, json};
use windlass_aws_client::Secret;

use super::config::NODE_GROUP_LABEL;
use super::{CloudProviderSetting, Identity, NodeConfig, Reserved};
use crate::document::JoinDocument;

/// From this minor version of kubeadm on its configuration is v1beta4.
const V1BETA4_SINCE: u32 = 31;
/// How many minor versions a kubelet may be behind its API server.
const MAX_SKEW: u32 = 3;

/// How kubeadm learns about the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery<'a> {
    /// By a kubeconfig at this path: no request is ever sent to a server that was not verified.
    File(&'a str),
    /// By the token and the pins, where the CA bundle was too long to publish.
    Token,
}

/// A kubelet and an API server that may not be together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkewError {
    /// No version.
    #[error("`{0}` is no version of Kubernetes")]
    Form(String),
    /// The kubelet is newer.
    #[error("the kubelet {kubelet} is newer than the API server {server}: use an older image")]
    Newer {
        /// The kubelet's.
        kubelet: String,
        /// The API server's.
        server: String,
    },
    /// The kubelet is too old.
    #[error(
        "the kubelet {kubelet} is more than {MAX_SKEW} minor versions older than the API server \
         {server}: use a newer image"
    )]
    Older {
        /// The kubelet's.
        kubelet: String,
        /// The API server's.
        server: String,
    },
}

/// Whether a kubelet of this version may serve an API server of that one.
///
/// # Errors
///
/// When it may not, or a version is none.
pub fn check_skew(kubelet: &str, server: &str) -> Result<(), SkewError> {
    let (newest, oldest) = (minor(server)?, minor(server)?.saturating_sub(MAX_SKEW));
    let ours = minor(kubelet)?;
    let (kubelet, server) = (kubelet.to_owned(), server.to_owned());
    if ours > newest {
        return Err(SkewError::Newer { kubelet, server });
    }
    if ours < oldest {
        return Err(SkewError::Older { kubelet, server });
    }
    Ok(())
}

/// `36` of `v1.36.3`.
fn minor(version: &str) -> Result<u32, SkewError> {
    let minor = version.strip_prefix("v1.").and_then(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    });
    minor.ok_or_else(|| SkewError::Form(version.to_owned()))
}

/// The kubeconfig that kubeadm finds the cluster with, the token in it: where anonymous requests
/// are refused, kubeadm's own look at `cluster-info` needs it too.
pub fn discovery_kubeconfig(document: &JoinDocument, certificate_authority: &str) -> Secret {
    use base64::Engine as _;
    let bundle = base64::prelude::BASE64_STANDARD.encode(certificate_authority);
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": document.cluster, "cluster": {
            "server": format!("https://{}", document.endpoint),
            "certificate-authority-data": bundle,
        }}],
        "users": [{"name": "bootstrap", "user": {"token": document.token.expose().expose()}}],
        "contexts": [{"name": "bootstrap", "context": {
            "cluster": document.cluster, "user": "bootstrap",
        }}],
        "current-context": "bootstrap",
    });
    Secret::new(kubeconfig.to_string())
}

/// The `JoinConfiguration` for a kubeadm of this version.
///
/// # Errors
///
/// When the version is none.
pub fn join_configuration(
    config: &NodeConfig,
    identity: &Identity,
    document: &JoinDocument,
    discovery: Discovery<'_>,
    reserved: Option<&str>,
    kubeadm: &str,
) -> Result<Secret, SkewError> {
    let is_v1beta4 = minor(kubeadm)? >= V1BETA4_SINCE;
    let arguments = kubelet_arguments(config, identity, reserved);
    let arguments = if is_v1beta4 {
        let pair = |(name, value)| json!({ "name": name, "value": value });
        arguments.into_iter().map(pair).collect::<Value>()
    } else {
        json!(arguments)
    };
    let taints: Vec<Value> = config
        .taints
        .iter()
        .map(|taint| json!({"key": taint.key, "value": taint.value, "effect": taint.effect}))
        .collect();
    let mut object = json!({
        "apiVersion": if is_v1beta4 { "kubeadm.k8s.io/v1beta4" } else { "kubeadm.k8s.io/v1beta3" },
        "kind": "JoinConfiguration",
        "discovery": match discovery {
            Discovery::File(path) => json!({ "file": { "kubeConfigPath": path } }),
            Discovery::Token => json!({ "bootstrapToken": {
                "token": document.token.expose().expose(),
                "apiServerEndpoint": document.endpoint,
                "caCertHashes": document.pins,
            }}),
        },
        "nodeRegistration": {
            "name": identity.node_name,
            "criSocket": config.cri_socket,
            "taints": taints,
            "kubeletExtraArgs": arguments,
            "ignorePreflightErrors": config.ignore_preflight_errors,
        },
    });
    if is_v1beta4 {
        object["timeouts"] = json!({
            "discovery": "2m0s", "tlsBootstrap": "3m0s", "kubeletHealthCheck": "2m0s",
        });
    }
    Ok(Secret::new(object.to_string()))
}

fn kubelet_arguments(
    config: &NodeConfig,
    identity: &Identity,
    reserved: Option<&str>,
) -> BTreeMap<&'static str, String> {
    let mut labels = BTreeMap::from([(NODE_GROUP_LABEL, config.node_group.as_str())]);
    let mut arguments = BTreeMap::from([
        ("provider-id", identity.provider_id()),
        ("node-ip", identity.node_ip.clone()),
    ]);
    match config.cloud_provider {
        CloudProviderSetting::External => {
            arguments.insert("cloud-provider", "external".to_owned());
        }
        // No cloud controller will set these.
        CloudProviderSetting::None => {
            labels.insert("topology.kubernetes.io/zone", &identity.zone);
            labels.insert("topology.kubernetes.io/region", &identity.region);
            if !identity.instance_type.is_empty() {
                labels.insert("node.kubernetes.io/instance-type", &identity.instance_type);
            }
        }
    }
    // An operator's word comes last.
    labels.extend(
        config
            .labels
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str())),
    );
    let labels: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    arguments.insert("node-labels", labels.join(","));
    if let Some(reserved) = reserved {
        arguments.insert("kube-reserved", reserved.to_owned());
    }
    arguments
}

/// `--kube-reserved` for a machine with so many processors and so much memory; none for none.
///
/// The tiers are those that managed Kubernetes services publish: of the CPU 6 % of the first
/// core, 1 % of the second, 0.5 % of two more and 0.25 % of the rest; of the memory 25 % of the
/// first 4 GiB, 20 % of 4 more, 10 % of 8 more, 6 % up to 128 and 2 % of the rest.
pub fn reserve(reserved: &Reserved, cpus: u64, memory_mib: u64) -> Option<String> {
    match reserved {
        Reserved::None => None,
        Reserved::Amounts(amounts) => {
            let amounts: Vec<String> = amounts
                .iter()
                .map(|(resource, amount)| format!("{resource}={amount}"))
                .collect();
            Some(amounts.join(","))
        }
        Reserved::Auto => {
            // In millionths of a core and ten-thousandths of a MiB, rounded up at the end.
            let cpu = tiers(
                cpus,
                &[(1, 60_000), (1, 10_000), (2, 5_000), (u64::MAX, 2_500)],
            );
            let memory = tiers(
                memory_mib,
                &[
                    (4 << 10, 2_500),
                    (4 << 10, 2_000),
                    (8 << 10, 1_000),
                    (112 << 10, 600),
                    (u64::MAX, 200),
                ],
            );
            Some(format!(
                "cpu={}m,memory={}Mi",
                cpu.div_ceil(1_000),
                memory.div_ceil(10_000)
            ))
        }
    }
}

fn tiers(mut amount: u64, tiers: &[(u64, u64)]) -> u64 {
    let mut sum = 0;
    for &(size, share) in tiers {
        let within = amount.min(size);
        sum += within * share;
        amount -= within;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> JoinDocument {
        JoinDocument {
            cluster: "prod".to_owned(),
            endpoint: "api.example.internal:443".to_owned(),
            token: "abcdef.0123456789abcdef".parse().unwrap(),
            pins: vec![format!("sha256:{}", "1".repeat(64)).parse().unwrap()],
            certificate_authority: Some("PEM".to_owned()),
            issued: "2026-01-01T00:00:00Z".parse().unwrap(),
            expires: "2026-01-01T01:00:00Z".parse().unwrap(),
            kubernetes: "v1.36.3".to_owned(),
            by: String::new(),
        }
    }

    fn identity() -> Identity {
        Identity {
            instance_id: "i-0123456789abcdef0".to_owned(),
            region: "us-west-2".to_owned(),
            zone: "us-west-2a".to_owned(),
            instance_type: "m5.large".to_owned(),
            node_name: "ip-10-0-3-4.us-west-2.compute.internal".to_owned(),
            node_ip: "10.0.3.4".to_owned(),
            is_warming: false,
        }
    }

    fn render(config: &NodeConfig, discovery: Discovery<'_>, kubeadm: &str) -> Value {
        let text = join_configuration(config, &identity(), &document(), discovery, None, kubeadm);
        serde_json::from_str(text.unwrap().expose()).unwrap()
    }

    #[test]
    fn the_configuration_is_that_of_its_kubeadm() {
        let config = NodeConfig::new("prod", "workers-a");
        let file = Discovery::File("/run/windlass/discovery.conf");
        let new = render(&config, file, "v1.36.3");
        assert_eq!(new["apiVersion"], "kubeadm.k8s.io/v1beta4");
        assert_eq!(
            new["nodeRegistration"]["kubeletExtraArgs"][0],
            json!({"name": "cloud-provider", "value": "external"})
        );
        assert_eq!(new["nodeRegistration"]["taints"], json!([]));
        assert_eq!(new["timeouts"]["tlsBootstrap"], "3m0s");
        assert!(!new.to_string().contains("0123456789abcdef\""));
        let old = render(&config, file, "v1.30.9");
        assert_eq!(old["apiVersion"], "kubeadm.k8s.io/v1beta3");
        assert_eq!(
            old["nodeRegistration"]["kubeletExtraArgs"]["provider-id"],
            "aws:///us-west-2a/i-0123456789abcdef0"
        );
        assert_eq!(old.get("timeouts"), None);
    }

    #[test]
    fn without_a_bundle_the_token_and_the_pins_find_the_cluster() {
        let by_token = render(&NodeConfig::new("prod", "a"), Discovery::Token, "v1.36.3");
        let discovery = &by_token["discovery"]["bootstrapToken"];
        assert_eq!(discovery["caCertHashes"], json!(document().pins));
        assert_eq!(discovery.get("unsafeSkipCAVerification"), None);
    }

    #[test]
    fn zone_and_type_are_labelled_where_no_cloud_controller_does() {
        let mut config = NodeConfig::new("prod", "workers-a");
        config.labels.insert("team".to_owned(), "web".to_owned());
        let labels = |config: &NodeConfig| {
            kubelet_arguments(config, &identity(), None)["node-labels"].clone()
        };
        assert_eq!(
            labels(&config),
            "team=web,windlass.dev/node-group=workers-a"
        );
        config.cloud_provider = CloudProviderSetting::None;
        assert_eq!(
            labels(&config),
            "node.kubernetes.io/instance-type=m5.large,team=web,\
             topology.kubernetes.io/region=us-west-2,topology.kubernetes.io/zone=us-west-2a,\
             windlass.dev/node-group=workers-a"
        );
    }

    #[test]
    fn a_kubelet_may_be_three_minors_older_and_not_newer() {
        assert!(check_skew("v1.36.3", "v1.36.0").is_ok());
        assert!(check_skew("v1.33.0", "v1.36.3").is_ok());
        assert!(matches!(
            check_skew("v1.37.0", "v1.36.3"),
            Err(SkewError::Newer { .. })
        ));
        assert!(matches!(
            check_skew("v1.32.9", "v1.36.3"),
            Err(SkewError::Older { .. })
        ));
        assert!(matches!(check_skew("", "v1.36.3"), Err(SkewError::Form(_))));
    }

    #[test]
    fn reservations_follow_the_tiers() {
        let auto = |cpus, mib| reserve(&Reserved::Auto, cpus, mib).unwrap();
        assert_eq!(auto(2, 8 << 10), "cpu=70m,memory=1844Mi");
        assert_eq!(auto(4, 16 << 10), "cpu=80m,memory=2663Mi");
        assert_eq!(auto(1, 1 << 10), "cpu=60m,memory=256Mi");
        assert_eq!(reserve(&Reserved::None, 4, 4), None);
    }

    #[test]
    fn the_discovery_file_names_server_authority_and_bearer() {
        let text = discovery_kubeconfig(&document(), "PEM");
        let file: Value = serde_json::from_str(text.expose()).unwrap();
        let cluster = &file["clusters"][0]["cluster"];
        assert_eq!(cluster["server"], "https://api.example.internal:443");
        assert_eq!(cluster["certificate-authority-data"], "UEVN");
        assert_eq!(file["users"][0]["user"]["token"], "abcdef.0123456789abcdef");
        assert!(!format!("{text:?}").contains("0123456789"));
    }
}
