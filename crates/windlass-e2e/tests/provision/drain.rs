//! Groups that still have instances are emptied through a drain before they are deleted.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use windlass_e2e::{called, check_granted, expect};
use windlass_provision::iam::Actor;
use windlass_testbed::{Proxy, Testbed, User, Workload, wait_for};

use crate::scene::{SOON, cluster_file, command, run};

const PODS: u32 = 2;

/// The group `web` with two nodes, a pod on each, and a budget that lets none of them go.
fn two_nodes_in_use(testbed: &Testbed) -> Result<()> {
    cluster_file(testbed, "  - {name: web, min: 2, max: 4}\n")?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    let cluster = testbed.cluster();
    cluster.wait_for_ready_nodes(2, SOON)?;
    cluster.deploy(&Workload::new("app", PODS).requests("1100m", "64Mi"))?;
    cluster.wait_until_all_run("default", "app", 2, SOON)?;
    cluster.apply_object(&budget())
}

fn budget() -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "app", "namespace": "default"},
        "spec": {"minAvailable": PODS, "selector": {"matchLabels": {"app": "app"}}},
    })
}

fn destroy(testbed: &Testbed, proxy: &Proxy, more: &[&str]) -> Result<Command> {
    let fixed = ["destroy", "--group=web", "--drain", "--yes"];
    let mut command = command(testbed, proxy.url(), &[&fixed[..], more].concat())?;
    command
        .env("KUBECONFIG", testbed.kubeconfig(User::Admin))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}

fn is_cordoned(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    spec.is_some_and(|spec| spec.unschedulable == Some(true))
}

/// Nothing is changed by a run that did not come to its end.
fn all_is_as_it_was(testbed: &Testbed) -> Result<()> {
    let group = testbed.aws().group("prod-web")?;
    let (min, max, instances) = (group.min, group.max, group.instance_ids().len());
    ensure!((min, max, instances) == (2, 4, 2), "{group:?}");
    for node in testbed.cluster().nodes()? {
        let annotations = node.metadata.annotations.clone().unwrap_or_default();
        let is_kept = annotations
            .keys()
            .any(|key| key.ends_with("/scale-down-disabled"));
        ensure!(!is_kept && !is_cordoned(&node), "{:?}", node.metadata);
    }
    let running = testbed.cluster().running_pods("default", "app")?;
    ensure!(running == 2, "{running} pods run");
    Ok(())
}

#[test]
fn a_group_is_drained_before_it_is_deleted() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let cluster = testbed.cluster();
    two_nodes_in_use(testbed)?;
    let refused = run(testbed, &["destroy", "--group=web", "--yes"])?;
    expect(&refused, 1, "has 2 instances: have their nodes drained")?;

    let proxy = testbed.proxy_aws()?;
    let stuck = destroy(testbed, &proxy, &["--drain-timeout=4s"])?.output()?;
    let text = expect(&stuck, 1, "have not left")?;
    ensure!(text.contains("disruption budget"), "{text}");
    ensure!(text.contains("is not emptied"), "{text}");
    all_is_as_it_was(testbed)?;

    // Somebody presses Ctrl-C while the budget holds it up.
    let waiting = destroy(testbed, &proxy, &[])?.spawn()?;
    wait_for("both nodes to be cordoned", SOON, || {
        Ok(cluster.nodes()?.iter().all(is_cordoned))
    })?;
    let pid = waiting.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status()?;
    expect(&waiting.wait_with_output()?, 1, "interrupted")?;
    all_is_as_it_was(testbed)?;

    cluster.delete_object(&budget())?;
    let nodes = cluster.nodes()?;
    let done = destroy(testbed, &proxy, &[])?.output()?;
    let text = expect(&done, 0, "Done.")?;
    for node in &nodes {
        let name = node.metadata.name.as_deref().context("a name")?;
        ensure!(
            text.contains(&format!("drained and ended {name}")),
            "{text}"
        );
    }
    ensure!(
        testbed.aws().groups()?.is_empty(),
        "the group is still there"
    );
    // Evicted, not lost with their nodes: their controller has made them again.
    let pods = cluster.pods_of("default", "app")?;
    ensure!(pods.len() == 2, "{} pods", pods.len());
    check_granted(&[Actor::Provisioner], &called(&proxy))
}
