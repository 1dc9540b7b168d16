//! What a node of EKS is told: the `NodeConfig` that the program `nodeadm` of its images reads. EKS
//! joins such nodes by the instance's own role, so that there is no token and nothing for Windlass
//! to do.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::{UserDataError, fits, mime};
use crate::labels;

/// Which cluster, and what the node is.
#[derive(Clone, Debug)]
pub struct Nodeadm {
    /// Name of the cluster.
    pub cluster: String,
    /// `https://…` of the API server.
    pub endpoint: String,
    /// The cluster's CA bundle, in PEM.
    pub certificate_authority: String,
    /// Range of the services' addresses, such as `10.100.0.0/16`.
    pub service_cidr: String,
    /// Name of the node group.
    pub node_group: String,
    /// Labels of the node, besides that of its group.
    pub labels: Vec<(String, String)>,
    /// Taints of the node: key, value, effect.
    pub taints: Vec<(String, String, String)>,
}

impl Nodeadm {
    /// The `NodeConfig`, in JSON, which is YAML too.
    ///
    /// # Errors
    ///
    /// When something in it would stop the node from joining, or it is too long.
    pub fn render(&self) -> Result<String, UserDataError> {
        self.validate()?;
        let mut node_labels = vec![format!("windlass.dev/node-group={}", self.node_group)];
        let labels = self.labels.iter();
        node_labels.extend(labels.map(|(key, value)| format!("{key}={value}")));
        let mut flags = vec![format!("--node-labels={}", node_labels.join(","))];
        let taints: Vec<String> = self
            .taints
            .iter()
            .map(|(key, value, effect)| format!("{key}={value}:{effect}"))
            .collect();
        if !taints.is_empty() {
            flags.push(format!("--register-with-taints={}", taints.join(",")));
        }
        let config = json!({
            "apiVersion": "node.eks.aws/v1alpha1",
            "kind": "NodeConfig",
            "spec": {
                "cluster": {
                    "name": self.cluster,
                    "apiServerEndpoint": self.endpoint,
                    "certificateAuthority": BASE64_STANDARD.encode(&self.certificate_authority),
                    "cidr": self.service_cidr,
                },
                "kubelet": { "flags": flags },
            },
        });
        fits(format!("{config:#}\n"))
    }

    /// The same as the part of a MIME document by which nodeadm finds it.
    ///
    /// # Errors
    ///
    /// As [`Self::render`].
    pub fn as_mime(&self) -> Result<String, UserDataError> {
        fits(mime("application/node.eks.aws", None, &self.render()?))
    }

    fn validate(&self) -> Result<(), UserDataError> {
        let refuse = |what, text: &str| {
            Err(UserDataError::Text {
                what,
                text: text.to_owned(),
            })
        };
        let is_plain = |text: &str, more: &str| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        if !is_plain(&self.cluster, "-_") {
            return refuse("cluster", &self.cluster);
        }
        let host = self.endpoint.strip_prefix("https://");
        if !host.is_some_and(|host| is_plain(host, "-.:[]")) {
            return refuse("endpoint", &self.endpoint);
        }
        if !is_plain(&self.service_cidr, ".:/") || !self.service_cidr.contains('/') {
            return refuse("service CIDR", &self.service_cidr);
        }
        if crate::pin::CaPin::of_bundle(self.certificate_authority.as_bytes()).is_err() {
            return refuse("certificate authority", &self.certificate_authority);
        }
        labels::check("windlass.dev/node-group", &self.node_group)?;
        for (key, value) in &self.labels {
            labels::check_own_label(key, value)?;
        }
        for (key, value, effect) in &self.taints {
            labels::check_taint(key, value, effect)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn example() -> Nodeadm {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        Nodeadm {
            cluster: "prod".to_owned(),
            endpoint: "https://ABCDEF.gr7.us-west-2.eks.amazonaws.com".to_owned(),
            certificate_authority: params.self_signed(&key).unwrap().pem(),
            service_cidr: "10.100.0.0/16".to_owned(),
            node_group: "workers-a".to_owned(),
            labels: vec![("team".to_owned(), "web".to_owned())],
            taints: vec![(
                "dedicated".to_owned(),
                "web".to_owned(),
                "NoSchedule".to_owned(),
            )],
        }
    }

    #[test]
    fn nodeadm_is_told_the_cluster_and_what_the_node_is() {
        let config: Value = serde_json::from_str(&example().render().unwrap()).unwrap();
        assert_eq!(config["kind"], "NodeConfig");
        assert_eq!(config["spec"]["cluster"]["name"], "prod");
        assert_eq!(
            config["spec"]["kubelet"]["flags"],
            json!([
                "--node-labels=windlass.dev/node-group=workers-a,team=web",
                "--register-with-taints=dedicated=web:NoSchedule"
            ])
        );
        let mime = example().as_mime().unwrap();
        assert!(
            mime.contains("\nContent-Type: application/node.eks.aws\n\n{"),
            "{mime}"
        );
    }

    #[test]
    fn what_nodeadm_could_not_use_is_refused() {
        let broken = |change: fn(&mut Nodeadm)| {
            let mut nodeadm = example();
            change(&mut nodeadm);
            nodeadm.render().unwrap_err()
        };
        broken(|it| it.endpoint = "api:443".to_owned());
        broken(|it| it.certificate_authority = "PEM".to_owned());
        broken(|it| it.service_cidr = "10.100.0.0".to_owned());
        broken(|it| it.cluster = String::new());
        broken(|it| it.labels[0].0 = "kubernetes.io/role".to_owned());
    }
}
