//! `ConfigMap` `kube-public/cluster-info`: where the cluster is and who vouches for it.
//!
//! Source: `k8s.io/cluster-bootstrap/token/jws` and `k8s.io/kubernetes/pkg/controller/bootstrap`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;

use crate::token::{BootstrapToken, TokenId};

/// Namespace of the `ConfigMap`.
pub const NAMESPACE: &str = "kube-public";
/// Name of the `ConfigMap`.
pub const NAME: &str = "cluster-info";
const KUBECONFIG_KEY: &str = "kubeconfig";
const SIGNATURE_PREFIX: &str = "jws-kubeconfig-";

/// What `cluster-info` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterInfo {
    /// The kubeconfig, byte for byte: signatures are over these bytes.
    pub kubeconfig: String,
    /// URL of the API server.
    pub server: String,
    /// CA bundle in PEM.
    pub certificate_authority: String,
    /// Signatures, by the id of the token that signed.
    signatures: BTreeMap<String, String>,
}

/// Why `cluster-info` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterInfoError {
    /// It is no `ConfigMap` with a kubeconfig.
    #[error("ConfigMap kube-public/cluster-info has no kubeconfig")]
    NoKubeconfig,
    /// Its kubeconfig cannot be read.
    #[error("the kubeconfig of ConfigMap kube-public/cluster-info cannot be read")]
    Kubeconfig(#[source] Box<serde_saphyr::Error>),
    /// Its kubeconfig has another form than kubeadm's.
    #[error("the kubeconfig of ConfigMap kube-public/cluster-info {0}")]
    Form(&'static str),
}

#[derive(Deserialize)]
struct Kubeconfig {
    #[serde(default)]
    clusters: Vec<NamedCluster>,
}

#[derive(Deserialize)]
struct NamedCluster {
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    #[serde(default)]
    server: String,
    #[serde(default)]
    certificate_authority_data: String,
}

impl ClusterInfo {
    /// Reads the `ConfigMap`.
    ///
    /// # Errors
    ///
    /// When it has no kubeconfig of one cluster with a server and a CA bundle.
    pub fn from_config_map(config_map: &Value) -> Result<Self, ClusterInfoError> {
        let data = config_map.get("data").and_then(Value::as_object);
        let entry = |key: &str| data.and_then(|data| data.get(key)).and_then(Value::as_str);
        let kubeconfig = entry(KUBECONFIG_KEY).ok_or(ClusterInfoError::NoKubeconfig)?;
        let parsed: Kubeconfig = serde_saphyr::from_str(kubeconfig)
            .map_err(|error| ClusterInfoError::Kubeconfig(Box::new(error)))?;
        let [NamedCluster { cluster }] = parsed.clusters.as_slice() else {
            return Err(ClusterInfoError::Form("does not have exactly one cluster"));
        };
        if cluster.server.is_empty() {
            return Err(ClusterInfoError::Form("names no server"));
        }
        let certificate_authority = BASE64_STANDARD
            .decode(&cluster.certificate_authority_data)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .filter(|pem| !pem.is_empty())
            .ok_or(ClusterInfoError::Form("has no CA bundle"))?;
        let signatures = data
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| {
                let id = key.strip_prefix(SIGNATURE_PREFIX)?;
                Some((id.to_owned(), value.as_str()?.to_owned()))
            })
            .collect();
        Ok(Self {
            kubeconfig: kubeconfig.to_owned(),
            server: cluster.server.clone(),
            certificate_authority,
            signatures,
        })
    }

    /// Whether the signer has signed with this token, and rightly.
    pub fn is_signed_by(&self, token: &BootstrapToken) -> bool {
        self.signatures
            .get(token.id().as_str())
            .is_some_and(|signature| verify(token, &self.kubeconfig, signature))
    }

    /// Whether there is a signature for this id, right or wrong.
    pub fn has_signature_of(&self, id: &TokenId) -> bool {
        self.signatures.contains_key(id.as_str())
    }
}

/// `host:port` of a server's URL, the form that kubeadm and the published document have.
pub fn endpoint_of(server: &str) -> Option<String> {
    let rest = server.strip_prefix("https://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        // The last colon of a bare IPv6 address is no port's.
        && !authority.ends_with(']');
    match authority {
        "" => None,
        _ if has_port => Some(authority.to_owned()),
        _ => Some(format!("{authority}:443")),
    }
}

/// The detached signature of `content`: `base64url(header)..base64url(mac)`.
pub fn sign(token: &BootstrapToken, content: &str) -> String {
    let header = header(token);
    let signature = mac(token, &header, content).finalize().into_bytes();
    format!("{header}..{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// Whether `signature` is that of `content` by `token`; compared in constant time.
pub fn verify(token: &BootstrapToken, content: &str, signature: &str) -> bool {
    let Some((header, signature)) = signature.split_once("..") else {
        return false;
    };
    let Ok(signature) = BASE64_URL_SAFE_NO_PAD.decode(signature) else {
        return false;
    };
    header == self::header(token) && mac(token, header, content).verify_slice(&signature).is_ok()
}

fn header(token: &BootstrapToken) -> String {
    let header = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, token.id());
    BASE64_URL_SAFE_NO_PAD.encode(header)
}

fn mac(token: &BootstrapToken, header: &str, content: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.secret().expose().as_bytes())
        .expect("a key of HMAC may have any length");
    mac.update(header.as_bytes());
    mac.update(b".");
    mac.update(BASE64_URL_SAFE_NO_PAD.encode(content).as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const VECTOR_ONE: &str =
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..bU_9eBwqrf0w9vnAgwshGGz84_LqkoipHrUwE8irYAg";
    const EMPTY: &str =
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..MO2tlCpY1xB334qWeOe_XEv9c6DIMRNmKJZImOzY17k";

    fn token() -> BootstrapToken {
        "abcdef.0123456789abcdef".parse().unwrap()
    }

    #[test]
    fn signatures_are_those_of_the_controller() {
        assert_eq!(sign(&token(), "windlass: test vector one\n"), VECTOR_ONE);
        assert_eq!(sign(&token(), ""), EMPTY);
        assert!(verify(&token(), "windlass: test vector one\n", VECTOR_ONE));
    }

    #[test]
    fn a_signature_of_another_text_token_or_form_is_none() {
        let other: BootstrapToken = "abcdef.0123456789abcdee".parse().unwrap();
        assert!(!verify(&token(), "windlass: test vector two\n", VECTOR_ONE));
        assert!(!verify(&other, "", EMPTY));
        for wrong in ["", "..", ".", &EMPTY[1..], &EMPTY[..EMPTY.len() - 1]] {
            assert!(!verify(&token(), "", wrong), "{wrong}");
        }
    }

    fn config_map(kubeconfig: &str) -> Value {
        json!({"data": {
            "kubeconfig": kubeconfig,
            "jws-kubeconfig-abcdef": sign(&token(), kubeconfig),
            "jws-kubeconfig-zzzzzz": "garbage",
        }})
    }

    const KUBECONFIG: &str = "apiVersion: v1\nclusters:\n- cluster:\n    \
        certificate-authority-data: UEVN\n    server: https://api.example.internal:6443\n  \
        name: \"\"\ncontexts: null\nkind: Config\nusers: null\n";

    #[test]
    fn cluster_info_names_the_server_and_its_authority() {
        let info = ClusterInfo::from_config_map(&config_map(KUBECONFIG)).unwrap();
        assert_eq!(info.server, "https://api.example.internal:6443");
        assert_eq!(info.certificate_authority, "PEM");
        assert!(info.is_signed_by(&token()));
        let other: BootstrapToken = "zzzzzz.0123456789abcdef".parse().unwrap();
        assert!(info.has_signature_of(other.id()) && !info.is_signed_by(&other));
    }

    #[test]
    fn cluster_info_of_another_form_is_refused_with_a_reason() {
        let refused = |config_map: &Value| {
            ClusterInfo::from_config_map(config_map)
                .unwrap_err()
                .to_string()
        };
        assert!(refused(&json!({})).ends_with("has no kubeconfig"));
        assert!(refused(&config_map("clusters: []")).ends_with("exactly one cluster"));
        assert!(refused(&config_map("clusters: [{cluster: {}}]")).ends_with("names no server"));
        assert!(
            refused(&config_map("clusters: [{cluster: {server: a}}]")).ends_with("no CA bundle")
        );
        assert!(refused(&config_map("{")).ends_with("cannot be read"));
    }

    #[test]
    fn an_endpoint_always_has_its_port() {
        let endpoint = |server| endpoint_of(server);
        assert_eq!(endpoint("https://a:6443").as_deref(), Some("a:6443"));
        assert_eq!(endpoint("https://a/").as_deref(), Some("a:443"));
        assert_eq!(
            endpoint("https://[::1]:6443").as_deref(),
            Some("[::1]:6443")
        );
        assert_eq!(endpoint("https://[::1]").as_deref(), Some("[::1]:443"));
        assert_eq!(endpoint("http://a"), None);
        assert_eq!(endpoint("https://"), None);
    }

    proptest! {
        #[test]
        fn what_is_signed_is_verified(content: String) {
            prop_assert!(verify(&token(), &content, &sign(&token(), &content)));
        }

        #[test]
        fn any_text_is_a_cluster_info_or_an_error(kubeconfig: String) {
            let _ = ClusterInfo::from_config_map(&config_map(&kubeconfig));
        }
    }
}
