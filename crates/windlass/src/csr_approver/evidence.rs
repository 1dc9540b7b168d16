//! What the cluster and AWS know about a node's name.

use anyhow::Context as _;
use serde_json::Value;
use windlass_aws_client::Client;
use windlass_aws_client::autoscaling::TagFilter;
use windlass_aws_client::ec2::Instance;
use windlass_kube::Api;
use windlass_provision::csr::{Evidence, InstanceFacts, NodeFacts};

use super::leave;

pub(super) async fn gather(
    api: &Api,
    client: &Client,
    cluster: &str,
    node: &str,
) -> anyhow::Result<Evidence> {
    let instance = find(client, node).await?;
    let instance = match instance {
        None => None,
        Some(instance) => Some(facts(client, cluster, instance).await?),
    };
    let now = api
        .server_time()
        .await
        .context("read the API server's clock")?;
    let is_allowed_back = match &instance {
        Some(instance) => leave::is_granted(api, &instance.id, now).await?,
        None => false,
    };
    Ok(Evidence {
        node: node_facts(api, node).await?,
        instance,
        is_allowed_back,
    })
}

/// The instance whose node has this name: its private DNS name, or its id.
async fn find(client: &Client, node: &str) -> anyhow::Result<Option<Instance>> {
    let is_id = node.starts_with("i-") && !node.contains('.');
    let found = if is_id {
        client.ec2().describe_instances("instance-id", node).await?
    } else {
        client
            .ec2()
            .describe_instances("private-dns-name", node)
            .await?
    };
    // An address can be a terminated instance's too.
    let mut found = found;
    found.sort_by_key(|instance| (!instance.is_running(), instance.id.clone()));
    Ok(found.into_iter().next())
}

async fn facts(
    client: &Client,
    cluster: &str,
    instance: Instance,
) -> anyhow::Result<InstanceFacts> {
    let tag = TagFilter {
        key: format!("k8s.io/cluster-autoscaler/{cluster}"),
        value: None,
    };
    let groups = client.autoscaling().describe_groups_by_tags(&[tag]).await?;
    let group = groups.into_iter().find(|group| {
        group
            .instances
            .iter()
            .any(|member| member.instance_id == instance.id)
    });
    Ok(InstanceFacts {
        is_running: instance.is_running(),
        group: group.map(|group| group.name),
        launched: instance.launch_time,
        dns_names: instance.dns_names(),
        addresses: instance.addresses(),
        id: instance.id,
    })
}

async fn node_facts(api: &Api, node: &str) -> anyhow::Result<Option<NodeFacts>> {
    let object = match api.get::<Value>(&format!("/api/v1/nodes/{node}")).await {
        Ok(object) => object,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read Node {node}")),
    };
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let is_ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    Ok(Some(NodeFacts { is_ready }))
}
