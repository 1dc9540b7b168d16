//! The cluster and Parameter Store, as the token commands see them.

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;
use windlass_aws_client::ssm::Encryption;
use windlass_aws_client::{Client, Options};
use windlass_kube::{Api, ConnectOptions, Endpoint};
use windlass_provision::cluster_info::{self, ClusterInfo};
use windlass_provision::pin::CaPin;
use windlass_provision::token::{NAMESPACE, SECRET_TYPE, TokenId, TokenRecord, TokenRequest};

/// The plain parameter of 2019.
const COMPAT_PARAMETER: &str = "jointoken";

/// Where the API server is.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClusterArgs {
    /// Path of a kubeconfig; without it the pod's own service account is used.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<String>,
}

/// Where the credential is published.
#[derive(Args, Clone, Debug)]
pub(super) struct ParameterArgs {
    /// Name of the cluster.
    #[arg(long, value_name = "NAME", env = "WINDLASS_CLUSTER")]
    pub(super) cluster: String,
    /// Name of the parameter; `/windlass/<cluster>/join` if left out.
    #[arg(long, value_name = "NAME")]
    parameter: Option<String>,
    /// Key that encrypts the parameter: id, alias or ARN.
    ///
    /// Without it the account's own key does, with which every principal of the account may
    /// decrypt, so that `ssm:GetParameter` is the only barrier.
    #[arg(long, value_name = "KEY")]
    kms_key: Option<String>,
    /// AWS region; else that of the environment or the instance.
    #[arg(long, env = "AWS_REGION")]
    region: Option<String>,
    /// Also keep the plain parameter that scripts of 2019 read.
    #[arg(long, value_enum, value_name = "YEAR")]
    pub(super) compat: Option<CompatYear>,
    /// Name of the plain parameter.
    #[arg(long, value_name = "NAME", default_value = COMPAT_PARAMETER)]
    pub(super) compat_parameter: String,
}

/// Which older scheme to serve besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CompatYear {
    /// A `String` parameter with the bare token.
    #[value(name = "2019")]
    Y2019,
}

impl ParameterArgs {
    /// The parameter of a cluster, encrypted with a key of the operator's or the account's own.
    pub(super) fn of(cluster: &str, kms_key: Option<&str>) -> Self {
        Self {
            cluster: cluster.to_owned(),
            parameter: None,
            kms_key: kms_key.map(str::to_owned),
            region: None,
            compat: None,
            compat_parameter: COMPAT_PARAMETER.to_owned(),
        }
    }

    /// Name of the parameter.
    pub(super) fn name(&self) -> anyhow::Result<String> {
        let name = match &self.parameter {
            Some(name) => name.clone(),
            None => format!("/windlass/{}/join", self.cluster),
        };
        check_name(&name)?;
        check_name(&self.compat_parameter)?;
        Ok(name)
    }

    /// How it is encrypted.
    pub(super) fn encryption(&self) -> Encryption<'_> {
        match &self.kms_key {
            Some(key) => Encryption::Key(key),
            None => Encryption::AccountKey,
        }
    }
}

/// Parameter Store's own rules, so that a wrong name is told before anything is made.
fn check_name(name: &str) -> anyhow::Result<()> {
    let bare = name.trim_start_matches('/').to_ascii_lowercase();
    if bare.starts_with("aws") || bare.starts_with("ssm") {
        bail!("parameter `{name}`: names that begin with `aws` or `ssm` are AWS's own");
    }
    if name.matches('/').count() > 15 {
        bail!("parameter `{name}` has more than 15 levels");
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if bare.is_empty() || !name.chars().all(allowed) {
        bail!("parameter `{name}`: a name is made of a-z, A-Z, 0-9, `.`, `_`, `-` and `/`");
    }
    Ok(())
}

/// One TLS provider for all that is below; whoever comes second finds the same.
pub(crate) fn install_tls() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A client of AWS.
pub(super) async fn aws(args: &ParameterArgs) -> anyhow::Result<Client> {
    let options = Options {
        region: args.region.clone(),
        ..Options::default()
    };
    Ok(Client::connect(options).await?)
}

/// The API server.
pub(crate) struct Cluster {
    endpoint: Endpoint,
}

impl Cluster {
    /// Nothing is sent yet.
    pub(crate) async fn connect(args: &ClusterArgs) -> anyhow::Result<Self> {
        let options = ConnectOptions {
            kubeconfig: args.kubeconfig.clone(),
            kubernetes: None,
            queries_per_second: 5.0,
            burst: 10,
        };
        Ok(Self {
            endpoint: Endpoint::find(&options).await?,
        })
    }

    /// That of a client that is there already.
    pub(super) fn of(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    /// As who the kubeconfig says.
    pub(crate) fn api(&self) -> &Api {
        &self.endpoint.api
    }

    /// The same server as the bearer of a token.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Makes the Secret of a token.
    pub(super) async fn create_token(&self, request: &TokenRequest<'_>) -> anyhow::Result<()> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets?fieldManager=windlass");
        let created = self
            .api()
            .create::<serde::de::IgnoredAny>(&path, &request.to_secret())
            .await;
        created.map(drop).with_context(|| {
            format!(
                "create Secret {NAMESPACE}/{}",
                request.token.id().secret_name()
            )
        })
    }

    /// The token Secrets that a label selector picks; those that the authenticator would ignore
    /// are left out.
    pub(super) async fn tokens(&self, labels: Option<&str>) -> anyhow::Result<Vec<TokenRecord>> {
        let mut path = format!(
            "/api/v1/namespaces/{NAMESPACE}/secrets?fieldSelector=type%3D{}",
            SECRET_TYPE.replace('/', "%2F")
        );
        if let Some(labels) = labels {
            path += "&labelSelector=";
            path += &labels.replace('=', "%3D").replace('/', "%2F");
        }
        let list: Value = self
            .api()
            .get(&path)
            .await
            .with_context(|| format!("list the bootstrap tokens in {NAMESPACE}"))?;
        let items = list.get("items").and_then(Value::as_array);
        Ok(items
            .into_iter()
            .flatten()
            .filter_map(|item| match TokenRecord::from_secret(item) {
                Ok(record) => Some(record),
                Err(problem) => {
                    let name = item.pointer("/metadata/name").and_then(Value::as_str);
                    tracing::debug!(secret = name, %problem, "not a usable bootstrap token");
                    None
                }
            })
            .collect())
    }

    /// The token of this id; none where there is no Secret of it, or none that the authenticator
    /// would take.
    pub(super) async fn token(&self, id: &TokenId) -> anyhow::Result<Option<TokenRecord>> {
        let name = id.secret_name();
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{name}");
        match self.api().get::<Value>(&path).await {
            Ok(object) => Ok(TokenRecord::from_secret(&object).ok()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read Secret {NAMESPACE}/{name}")),
        }
    }

    /// Deletes the Secret of a token; says whether there was one.
    pub(super) async fn delete_token(
        &self,
        id: &TokenId,
        uid: Option<&str>,
    ) -> anyhow::Result<bool> {
        let name = id.secret_name();
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{name}");
        let deleted = self.api().delete(&path, uid).await;
        deleted.with_context(|| format!("delete Secret {NAMESPACE}/{name}"))
    }

    /// `ConfigMap` `kube-public/cluster-info`.
    pub(super) async fn cluster_info(&self) -> anyhow::Result<ClusterInfo> {
        let path = format!(
            "/api/v1/namespaces/{}/configmaps/{}",
            cluster_info::NAMESPACE,
            cluster_info::NAME
        );
        let config_map: Value = self.api().get(&path).await.context(
            "read ConfigMap kube-public/cluster-info (`kubeadm init phase bootstrap-token` makes \
             it)",
        )?;
        Ok(ClusterInfo::from_config_map(&config_map)?)
    }

    /// Pins of the authority that this very connection trusts, after `cluster-info` was found to
    /// name the same one.
    pub(super) fn trusted_pins(&self, info: &ClusterInfo) -> anyhow::Result<Vec<CaPin>> {
        let Some(trusted) = self.endpoint.certificate_authority() else {
            bail!(
                "the kubeconfig names no certificate authority, so there is nothing to pin: add \
                 certificate-authority-data to it"
            );
        };
        let mut pins = Vec::new();
        for certificate in trusted {
            pins.push(CaPin::of_certificate(certificate)?);
        }
        pins.sort_unstable();
        pins.dedup();
        let told = CaPin::of_bundle(info.certificate_authority.as_bytes())?;
        if told != pins {
            bail!(
                "cluster-info names another certificate authority ({told:?}) than the one that \
                 this connection trusts ({pins:?}): nothing is published until they agree"
            );
        }
        Ok(pins)
    }

    /// The API server's version, such as `v1.36.3`.
    pub(super) async fn version(&self) -> anyhow::Result<String> {
        let version: Value = self.api().get("/version").await.context("read /version")?;
        let version = version.get("gitVersion").and_then(Value::as_str);
        Ok(version.unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_names_follow_parameter_stores_rules() {
        assert!(check_name("/windlass/prod/join").is_ok());
        assert!(check_name("jointoken").is_ok());
        for wrong in ["", "/", "/aws/x", "SSMtoken", "a b", &"/a".repeat(16)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
