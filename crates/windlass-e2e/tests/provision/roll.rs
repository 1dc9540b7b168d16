//! Nodes of an older template are replaced through a drain.

use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use serde_json::json;
use windlass_e2e::{called, check_granted, expect, granted_for};
use windlass_provision::iam::{Actor, Feature};
use windlass_testbed::{Boot, Testbed, User, Workload, wait_for};

use crate::scene::{AUTOSCALING, EC2, SOON, cluster_file, command, run};

const GROUP: &str = "  - {name: web, min: 0, max: 4}\n";

/// Two nodes of the group `web` with a pod each, and a template that has changed since.
fn two_old_nodes(testbed: &Testbed) -> Result<()> {
    cluster_file(testbed, GROUP)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    testbed.aws().set_desired("prod-web", 2)?;
    let cluster = testbed.cluster();
    cluster.wait_for_ready_nodes(2, SOON)?;
    cluster.deploy(&Workload::new("app", 2).requests("1100m", "64Mi"))?;
    cluster.wait_until_all_run("default", "app", 2, SOON)?;
    change_the_template(testbed, GROUP)
}

/// Another version of the template of the group `web`, and the group is pinned to that.
pub(crate) fn change_the_template(testbed: &Testbed, group: &str) -> Result<()> {
    cluster_file(
        testbed,
        &group.replace("max: 4", "max: 4, labels: {tier: web}"),
    )?;
    let text = expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    ensure!(text.contains("windlass provision roll"), "{text}");
    // moto launches nothing from a later version that has user data.
    let version = [
        ("LaunchTemplateName", "prod-web"),
        ("LaunchTemplateData.ImageId", "ami-1e749f67"),
        ("LaunchTemplateData.InstanceType", "m5.large"),
    ];
    testbed
        .aws()
        .query(EC2, "CreateLaunchTemplateVersion", &version)?;
    let group = [
        ("AutoScalingGroupName", "prod-web"),
        ("LaunchTemplate.LaunchTemplateName", "prod-web"),
        ("LaunchTemplate.Version", "3"),
    ];
    testbed
        .aws()
        .query(AUTOSCALING, "UpdateAutoScalingGroup", &group)?;
    Ok(())
}

fn roll(testbed: &Testbed, arguments: &[&str]) -> Result<Output> {
    let fixed = ["roll", "--group=web", "--yes"];
    let arguments = [&fixed[..], arguments].concat();
    let proxy = testbed.proxy_aws()?;
    let output = command(testbed, proxy.url(), &arguments)?
        .env("KUBECONFIG", testbed.kubeconfig(User::Admin))
        .output()
        .context("run windlass provision roll")?;
    let called = called(&proxy);
    check_granted(&[Actor::Provisioner], &called)?;
    // A run that has come to its end has used all that it is granted besides what others are.
    if output.status.success() && arguments == fixed {
        let granted = granted_for(&[Feature::ProvisionRoll]);
        ensure!(granted.is_subset(&called), "{granted:?}, {called:?}");
    }
    Ok(output)
}

#[test]
fn old_nodes_are_replaced_by_new_ones_through_a_drain() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    two_old_nodes(testbed)?;
    let old = testbed.aws().group("prod-web")?.instance_ids();
    let text = expect(&roll(testbed, &["--dry-run"])?, 0, "2 nodes to replace")?;
    ensure!(text.contains("template prod-web version 1"), "{text}");
    let untouched = testbed.aws().group("prod-web")?.instance_ids();
    ensure!(untouched == old, "a dry run replaced something");
    expect(&roll(testbed, &[])?, 0, "Done.")?;
    let group = testbed.aws().group("prod-web")?;
    ensure!(group.desired == 2, "{} are wanted", group.desired);
    let kept: Vec<_> = group
        .instance_ids()
        .into_iter()
        .filter(|id| old.contains(id))
        .collect();
    ensure!(kept.is_empty(), "still there: {kept:?}");
    testbed
        .cluster()
        .wait_until_all_run("default", "app", 2, SOON)?;
    wait_for("two nodes that take pods", SOON, || {
        let nodes = testbed.cluster().nodes()?;
        let is_open = |node: &Node| {
            let spec = node.spec.as_ref();
            spec.is_none_or(|spec| spec.unschedulable != Some(true))
        };
        Ok(nodes.len() == 2 && nodes.iter().all(is_open))
    })
}

#[test]
fn a_replacement_that_fails_leaves_the_old_nodes_as_they_were() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    two_old_nodes(testbed)?;
    let old = testbed.aws().group("prod-web")?.instance_ids();
    // Of a pod that nobody makes again there is one on each node.
    for (index, node) in testbed.cluster().nodes()?.iter().enumerate() {
        testbed.cluster().apply_object(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("bare-{index}"), "namespace": "default"},
            "spec": {
                "nodeName": node.metadata.name,
                "containers": [{"name": "main", "image": "registry.invalid/pause"}],
            },
        }))?;
    }
    let failed = roll(testbed, &["--canary"])?;
    let text = expect(&failed, 1, "has no controller that would make it again")?;
    ensure!(text.contains("takes pods again"), "{text}");
    for node in testbed.cluster().nodes()? {
        let annotations = node.metadata.annotations.unwrap_or_default();
        let is_kept = annotations
            .keys()
            .any(|key| key.ends_with("/scale-down-disabled"));
        let is_cordoned = node
            .spec
            .is_some_and(|spec| spec.unschedulable == Some(true));
        ensure!(
            !is_kept && !is_cordoned,
            "{:?} is not as it was",
            node.metadata.name
        );
    }
    testbed.joiner().set_boot("prod-web", Boot::never());
    let failed = roll(testbed, &["--force", "--ready-timeout=5s"])?;
    expect(&failed, 1, "no old node was touched")?;
    let left = testbed.aws().group("prod-web")?.instance_ids();
    ensure!(
        old.iter().all(|id| left.contains(id)),
        "an old node was ended"
    );
    Ok(())
}
