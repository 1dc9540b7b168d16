//! The provider, its client, and what answers the client.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use windlass_aws::{ActionSettings, Aws, Membership, TemplateSettings};
use windlass_aws_client::{Client, Options, Secret, StaticCredentials};
use windlass_config::{DiscoveryMode, DiscoverySpec, TagFilter};
use windlass_faults::{Call, Clock, Fake, Faults};
use windlass_model::{Node, NodeGroup};

/// The cluster whose groups these tests mostly look at.
pub(crate) const CLUSTER: &str = "prod";

pub(crate) struct Cloud {
    pub(crate) fake: Arc<Fake>,
    pub(crate) faults: Faults,
    pub(crate) client: Client,
}

impl Cloud {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let fake = Arc::new(Fake::new());
        let faults = Faults::before(fake.clone());
        let mut options = Options {
            region: Some("us-east-1".to_owned()),
            credentials: Some(StaticCredentials {
                access_key_id: "test".to_owned(),
                secret_access_key: Secret::new("test"),
                session_token: None,
            }),
            transport: Some(SharedHttpConnector::new(Wire(faults.clone()))),
            ..Options::default()
        };
        change(&mut options);
        let client = Client::connect(options).await.unwrap();
        let clock = Clock::new({
            let client = client.clone();
            move || client.now()
        });
        faults.set_clock(clock.clone());
        fake.set_clock(clock);
        Self {
            fake,
            faults,
            client,
        }
    }

    /// The provider of the cluster's groups.
    pub(crate) fn aws(&self) -> Aws {
        self.aws_with(discovered(&[CLUSTER]), ActionSettings::default())
    }

    pub(crate) fn aws_with(&self, membership: Membership, actions: ActionSettings) -> Aws {
        Aws::with_client(
            self.client.clone(),
            membership,
            TemplateSettings::default(),
            actions,
        )
    }

    /// The actions called since this was last asked, in order.
    pub(crate) fn called(&self) -> Vec<String> {
        let log = self.faults.log();
        self.faults.forget_log();
        log.into_iter().map(|entry| entry.action).collect()
    }
}

/// What the two flags of a cluster find: groups that carry both tags.
pub(crate) fn discovered(clusters: &[&str]) -> Membership {
    let mut keys = vec!["k8s.io/cluster-autoscaler/enabled".to_owned()];
    keys.extend(
        clusters
            .iter()
            .map(|cluster| format!("k8s.io/cluster-autoscaler/{cluster}")),
    );
    Membership::new(&[], &[spec(&keys)], DiscoveryMode::All)
}

pub(crate) fn spec(keys: &[String]) -> DiscoverySpec {
    DiscoverySpec {
        tags: keys
            .iter()
            .map(|key| TagFilter {
                key: key.clone(),
                value: None,
            })
            .collect(),
    }
}

pub(crate) fn group(aws: &Aws, name: &str) -> NodeGroup {
    aws.node_groups()
        .into_iter()
        .find(|group| group.name == name)
        .unwrap_or_else(|| panic!("no group {name}"))
}

/// The provider ids of a group, instances first.
pub(crate) fn ids(aws: &Aws, name: &str) -> Vec<String> {
    group(aws, name)
        .instances
        .iter()
        .map(|instance| instance.provider_id.to_string())
        .collect()
}

/// Has all instances that the provider lists be nodes of the cluster.
pub(crate) fn all_join(aws: &Aws) {
    let nodes: Vec<Node> = aws
        .node_groups()
        .iter()
        .flat_map(|group| &group.instances)
        .map(|instance| Node {
            provider_id: instance.provider_id.clone(),
            ..Node::default()
        })
        .collect();
    aws.learn(&nodes);
}

/// Lets time pass, refreshing as the shell does.
pub(crate) async fn pass(aws: &Aws, time: Duration) {
    let end = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < end {
        if aws.next_refresh() <= aws.client().now() {
            aws.refresh().await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Carries requests to the faults instead of a socket.
#[derive(Debug)]
struct Wire(Faults);

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let faults = self.0.clone();
        let path = request
            .uri()
            .split_once("://")
            .and_then(|(_, rest)| rest.find('/').map(|slash| rest[slash..].to_owned()))
            .unwrap_or_else(|| "/".to_owned());
        let call = Call {
            method: request.method().to_owned(),
            path,
            headers: request
                .headers()
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned(),
        };
        HttpConnectorFuture::new(async move {
            let reply = faults
                .handle(call)
                .await
                .map_err(|_| ConnectorError::io("the connection is lost".into()))?;
            let status = StatusCode::try_from(reply.status)
                .map_err(|error| ConnectorError::other(error.into(), None))?;
            let mut response = HttpResponse::new(status, SdkBody::from(reply.body));
            response
                .headers_mut()
                .insert("content-type", reply.content_type);
            Ok(response)
        })
    }
}
