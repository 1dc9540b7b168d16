//! The rotator's surroundings in earnest: the API server and Parameter Store.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use windlass_aws_client::ssm::PutParameter;
use windlass_aws_client::{CallError, Client, Secret};
use windlass_kube::ApiError;
use windlass_provision::cluster_info;
use windlass_provision::document::{DocumentError, JoinDocument};
use windlass_provision::pin::CaPin;
use windlass_provision::rotation::{
    Compat, Failure, ManagedToken, Observation, Publication, Published, Retry, Surroundings, Target,
};
use windlass_provision::token::{
    BootstrapToken, DEFAULT_NODE_GROUP, GroupName, MANAGED_BY_LABEL, MANAGED_BY_ROTATOR, NAMESPACE,
    TokenId, TokenRecord, TokenRequest, Usage, own_group,
};

use super::connection::{self, Cluster, ClusterArgs, ParameterArgs};

/// Difference between two clocks from which on it is worth a warning.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

pub(super) struct Live {
    cluster: Cluster,
    client: Client,
    args: ParameterArgs,
    parameter: String,
    /// `host:port`, if the operator names another than `cluster-info` does.
    endpoint: Option<String>,
    groups: [GroupName; 2],
    sight: Sight,
    identity: String,
    /// What was last read, for the time when nothing can be read.
    last: Mutex<Last>,
}

/// Which token Secrets a rotator sees and may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// All of its own.
    All,
    /// The published one, by its id; others are left to expire. For accounts that may create and get
    /// Secrets and nothing else.
    Published,
}

/// What a look has shown.
#[derive(Default)]
struct Last {
    publication: Option<Publication>,
    /// Tokens of ours that have not expired.
    live: Option<usize>,
}

impl Live {
    pub(super) async fn connect(
        cluster: &ClusterArgs,
        args: &ParameterArgs,
        endpoint: Option<String>,
        sight: Sight,
    ) -> anyhow::Result<Self> {
        let cluster = Cluster::connect(cluster).await?;
        Self::of(cluster, args, endpoint, sight).await
    }

    pub(super) async fn of(
        cluster: Cluster,
        args: &ParameterArgs,
        endpoint: Option<String>,
        sight: Sight,
    ) -> anyhow::Result<Self> {
        let parameter = args.name()?;
        let own_group = own_group(&args.cluster)?;
        let default_group = DEFAULT_NODE_GROUP.parse::<GroupName>()?;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Ok(Self {
            cluster,
            client: connection::aws(args).await?,
            args: args.clone(),
            parameter,
            endpoint,
            groups: [default_group, own_group],
            sight,
            identity: format!("{}/windlass {}", host.trim(), env!("CARGO_PKG_VERSION")),
            last: Mutex::default(),
        })
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(super) fn parameter(&self) -> &str {
        &self.parameter
    }

    /// How long the document that was last read is good by its own word.
    pub(super) fn last_known_remaining(&self) -> Option<Duration> {
        let expires = self.last().publication.as_ref()?.document.expires;
        let remaining = expires.duration_since(self.client.server_time());
        Some(Duration::try_from(remaining).unwrap_or_default())
    }

    /// Age of the document that was last read.
    pub(super) fn last_known_age(&self) -> Option<Duration> {
        let modified = self.last().publication.as_ref()?.modified;
        let age = self.client.server_time().duration_since(modified);
        Some(Duration::try_from(age).unwrap_or_default())
    }

    /// How many tokens of ours there were when they were last listed.
    pub(super) fn last_known_live(&self) -> Option<usize> {
        self.last().live
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_compat(&self) -> Result<Compat, Failure> {
        if self.args.compat.is_none() {
            return Ok(Compat::Off);
        }
        let name = &self.args.compat_parameter;
        let parameter = self.client.ssm().get_parameter(name).await.map_err(aws)?;
        let token = parameter.and_then(|parameter| parameter.value.expose().parse().ok());
        Ok(Compat::Holds(token))
    }

    async fn target(&self, info: &cluster_info::ClusterInfo) -> anyhow::Result<Target> {
        let pins: Vec<CaPin> = self.cluster.trusted_pins(info)?;
        let endpoint = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => cluster_info::endpoint_of(&info.server).with_context(|| {
                format!(
                    "the server `{}` of cluster-info is no https URL",
                    info.server
                )
            })?,
        };
        Ok(Target {
            cluster: self.args.cluster.clone(),
            endpoint,
            pins,
            certificate_authority: info.certificate_authority.clone(),
            kubernetes: self.cluster.version().await?,
        })
    }

    /// The token Secrets that this rotator sees.
    async fn records(&self, published: &Published) -> anyhow::Result<Vec<TokenRecord>> {
        match (self.sight, published) {
            (Sight::All, _) => {
                let selector = format!("{MANAGED_BY_LABEL}={MANAGED_BY_ROTATOR}");
                self.cluster.tokens(Some(&selector)).await
            }
            (Sight::Published, Published::Document(publication)) => {
                let record = self.cluster.token(publication.document.token.id()).await?;
                Ok(record.into_iter().collect())
            }
            (Sight::Published, _) => Ok(Vec::new()),
        }
    }

    fn secret_path(id: &TokenId) -> String {
        format!(
            "/api/v1/namespaces/{NAMESPACE}/secrets/{}",
            id.secret_name()
        )
    }
}

/// What a failed AWS call means to the rotator.
fn aws(error: CallError) -> Failure {
    let hint = if error.is_denied() {
        let resource = error.resource.as_deref().unwrap_or("the parameter");
        format!(
            "allow `ssm:{}` on parameter `{resource}`, and `kms:Encrypt` and `kms:Decrypt` on \
             its key, to this role",
            error.action
        )
    } else {
        String::new()
    };
    Failure {
        retry: if error.is_transient() {
            Retry::Later
        } else {
            Retry::Never
        },
        hint,
        source: error.into(),
    }
}

/// What a failed call to the API server means to the rotator.
fn kubernetes(error: anyhow::Error) -> Failure {
    let api = error.downcast_ref::<ApiError>();
    let hint = match api.and_then(ApiError::code) {
        Some(401) => "the API server does not know these credentials".to_owned(),
        Some(403) => "grant the rotator the rights that docs/joining.md names".to_owned(),
        _ => String::new(),
    };
    Failure {
        retry: if api.is_some_and(|error| !error.is_transient()) {
            Retry::Never
        } else {
            Retry::Later
        },
        hint,
        source: error.into(),
    }
}

impl Surroundings for Live {
    async fn observe(&self) -> Result<Observation, Failure> {
        let published = self.published().await?;
        let compat = self.read_compat().await?;
        let aws_now = self.client.server_time();
        let api_now = self.api_now().await?;
        let info = self.cluster.cluster_info().await.map_err(kubernetes)?;
        let target = self.target(&info).await.map_err(kubernetes)?;
        let records = self.records(&published).await.map_err(kubernetes)?;
        let tokens: Vec<ManagedToken> = records
            .into_iter()
            // Of this cluster's name: rotators that were given another one are left to theirs.
            .filter(|record| record.managed && record.is_in(&self.groups[1]))
            .filter_map(|record| {
                Some(ManagedToken {
                    signed: info.is_signed_by(&record.token),
                    token: record.token,
                    uid: record.uid,
                    created: record.created,
                    expires: record.expires?,
                })
            })
            .collect();
        let is_live = |token: &&ManagedToken| api_now < token.expires;
        self.last().live = Some(tokens.iter().filter(is_live).count());
        let skew = aws_now.duration_since(api_now).abs();
        if skew > SKEW {
            tracing::warn!(
                seconds = skew.as_secs(),
                "the clocks of AWS and of the API server differ"
            );
        }
        Ok(Observation {
            published,
            tokens,
            target,
            compat,
            aws_now,
            api_now,
        })
    }

    async fn api_now(&self) -> Result<Timestamp, Failure> {
        let now = self.cluster.api().server_time().await;
        now.context("read the API server's clock")
            .map_err(kubernetes)
    }

    async fn create(&self, token: &BootstrapToken, expires: Timestamp) -> Result<(), Failure> {
        let description = format!("join credential of {}, kept by windlass", self.args.cluster);
        let request = TokenRequest {
            token,
            expires,
            usages: &[Usage::Authentication, Usage::Signing],
            groups: &self.groups,
            description: &description,
            managed: true,
        };
        self.cluster
            .create_token(&request)
            .await
            .map_err(kubernetes)
    }

    async fn is_signed(&self, token: &BootstrapToken) -> Result<bool, Failure> {
        let info = self.cluster.cluster_info().await.map_err(kubernetes)?;
        Ok(info.is_signed_by(token))
    }

    async fn wake_signer(&self, id: &TokenId) -> Result<(), Failure> {
        if self.sight == Sight::Published {
            return Ok(());
        }
        tracing::info!(token = %id, "the signer has not signed yet: waking it");
        let now = Timestamp::now().to_string();
        let patch = json!({"metadata": {"annotations": {"windlass.dev/signer-woken": now}}});
        let patched = self
            .cluster
            .api()
            .merge::<serde::de::IgnoredAny>(&Self::secret_path(id), &patch)
            .await;
        patched
            .map(drop)
            .context("annotate the token Secret")
            .map_err(kubernetes)
    }

    async fn logs_in(&self, token: &BootstrapToken) -> Result<bool, Failure> {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let as_bearer = self
            .cluster
            .endpoint()
            .with_bearer_token(token.expose().expose())
            .map_err(|error| kubernetes(error.into()))?;
        // The authenticator reads a cache: a new Secret may take a second to be seen.
        for _ in 0..10 {
            match as_bearer.create::<Value>(path, &review).await {
                Ok(review) => {
                    let user = review
                        .pointer("/status/userInfo/username")
                        .and_then(Value::as_str);
                    return Ok(user == Some(token.id().user_name().as_str()));
                }
                Err(error) if error.code() == Some(401) => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Err(error) => {
                    let error = anyhow::Error::new(error).context("log in with the new token");
                    return Err(kubernetes(error));
                }
            }
        }
        Ok(false)
    }

    async fn published(&self) -> Result<Published, Failure> {
        let read = self.client.ssm().get_parameter(&self.parameter).await;
        let Some(parameter) = read.map_err(aws)? else {
            return Ok(Published::Absent);
        };
        match JoinDocument::from_value(&parameter.value) {
            Ok(document) => {
                let publication = Publication {
                    document,
                    modified: parameter.modified,
                };
                self.last().publication = Some(publication.clone());
                Ok(Published::Document(Box::new(publication)))
            }
            Err(DocumentError::Version(version)) => Ok(Published::Newer(version)),
            Err(problem) => {
                tracing::warn!(
                    parameter = self.parameter,
                    version = parameter.version,
                    %problem,
                    "the parameter holds something else; it will be replaced"
                );
                Ok(Published::Garbage)
            }
        }
    }

    async fn publish(&self, document: &JoinDocument) -> Result<(), Failure> {
        let value = document.to_value().map_err(|error| Failure {
            retry: Retry::Never,
            hint: String::new(),
            source: error.into(),
        })?;
        let put = PutParameter {
            name: &self.parameter,
            value: &value,
            description: "Join credential of a Kubernetes cluster, kept by windlass",
            encryption: Some(self.args.encryption()),
            overwrite: true,
        };
        self.client
            .ssm()
            .put_parameter(&put)
            .await
            .map(drop)
            .map_err(aws)
    }

    async fn publish_compat(&self, token: &BootstrapToken) -> Result<(), Failure> {
        let put = PutParameter {
            name: &self.args.compat_parameter,
            value: &token.expose(),
            description: "Bootstrap token of a Kubernetes cluster, kept by windlass",
            encryption: None,
            overwrite: true,
        };
        self.client
            .ssm()
            .put_parameter(&put)
            .await
            .map(drop)
            .map_err(aws)
    }

    async fn delete(&self, id: &TokenId, uid: Option<&str>) -> Result<(), Failure> {
        if self.sight == Sight::Published {
            // It expires.
            return Ok(());
        }
        match self.cluster.delete_token(id, uid).await {
            Ok(_) => Ok(()),
            // Another Secret of that name: not the one that was meant.
            Err(error)
                if error
                    .downcast_ref::<ApiError>()
                    .is_some_and(ApiError::is_conflict) =>
            {
                Ok(())
            }
            Err(error) => Err(kubernetes(error)),
        }
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }
}

/// Says something that an operator should see beside the cluster's other events.
pub(super) async fn record_event(api: windlass_kube::Api, reason: &'static str, message: String) {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "windlass-token-", "namespace": NAMESPACE},
        // An event is in the namespace of what it is about.
        "involvedObject": {
            "apiVersion": "v1", "kind": "ServiceAccount",
            "namespace": NAMESPACE, "name": "windlass-token-rotator",
        },
        "type": "Warning",
        "reason": reason,
        "message": message,
        "source": {"component": "windlass-token-rotator"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    });
    let path = format!("/api/v1/namespaces/{NAMESPACE}/events");
    if let Err(problem) = api.create::<serde::de::IgnoredAny>(&path, &event).await {
        tracing::debug!(%problem, reason, "the event was not written");
    }
}

/// What is published, as told without the token.
pub(super) struct Told {
    pub(super) token: TokenId,
    pub(super) endpoint: String,
    pub(super) pins: Vec<CaPin>,
    pub(super) age: Duration,
    pub(super) remaining: Duration,
    pub(super) expires: Timestamp,
    pub(super) by: String,
}

/// Reads the parameter alone.
pub(super) async fn read(
    client: &Client,
    parameter: &str,
) -> anyhow::Result<Option<Result<Told, DocumentError>>> {
    let read = client.ssm().get_parameter(parameter).await?;
    let Some(read) = read else {
        return Ok(None);
    };
    let value: Secret = read.value;
    let now = client.server_time();
    Ok(Some(JoinDocument::from_value(&value).map(|document| {
        let positive = |duration| Duration::try_from(duration).unwrap_or_default();
        Told {
            token: document.token.id().clone(),
            endpoint: document.endpoint,
            pins: document.pins,
            age: positive(now.duration_since(read.modified)),
            remaining: positive(document.expires.duration_since(now)),
            expires: document.expires,
            by: document.by,
        }
    })))
}
