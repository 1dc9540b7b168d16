//! The node after kubeadm: registered, and ready.

use std::time::{Duration, Instant};

use serde_json::Value;
use windlass_kube::{Api, ConnectOptions};
use windlass_provision::join::{Identity, Phase};

use super::{Context, Joined, Stop};

const POLL: Duration = Duration::from_secs(2);

/// Waits for the Node to turn ready, with the kubelet's own credential. A node that lacks only
/// its network has joined: what brings the network comes by `DaemonSet`, after the join.
pub(super) async fn wait(context: &Context<'_>, identity: &Identity) -> Result<Joined, Stop> {
    let begun = Instant::now();
    let stop = |why: String| Stop::for_good(Phase::Ready, why);
    let name = &identity.node_name;
    let mut seen = String::from("the Node is not there");
    while begun.elapsed() < context.config.ready_timeout {
        match look(context, name).await {
            Ok(State::Ready) => {
                context.report.say(&format!("node {name} is ready"));
                return Ok(Joined::Now);
            }
            Ok(State::NoNetwork(message)) => seen = format!("no network yet: {message}"),
            Ok(State::NotReady(message)) => seen = format!("not ready: {message}"),
            Err(problem) => seen = problem,
        }
        tokio::time::sleep(POLL).await;
    }
    if seen.starts_with("no network yet") {
        context
            .report
            .say(&format!("warning: node {name} has joined, {seen}"));
        return Ok(Joined::Now);
    }
    Err(stop(format!(
        "node {name} was not ready in {} s: {seen}",
        context.config.ready_timeout.as_secs()
    )))
}

enum State {
    Ready,
    /// Only the network is missing.
    NoNetwork(String),
    NotReady(String),
}

async fn look(context: &Context<'_>, name: &str) -> Result<State, String> {
    let api = connect(context).await?;
    let node: Value = api
        .get(&format!("/api/v1/nodes/{name}"))
        .await
        .map_err(|error| error.to_string())?;
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready");
    let Some(ready) = ready else {
        return Ok(State::NotReady("no condition yet".to_owned()));
    };
    let message = ready["message"].as_str().unwrap_or_default().to_owned();
    Ok(if ready["status"] == "True" {
        State::Ready
    } else if message.contains("NetworkReady=false") {
        State::NoNetwork(message)
    } else {
        State::NotReady(message)
    })
}

async fn connect(context: &Context<'_>) -> Result<Api, String> {
    let path = context.paths.kubelet_kubeconfig();
    let options = ConnectOptions {
        kubeconfig: path.to_str().map(str::to_owned),
        kubernetes: None,
        queries_per_second: 5.0,
        burst: 10,
    };
    windlass_kube::connect(&options)
        .await
        .map_err(|error| error.to_string())
}
