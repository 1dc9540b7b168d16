//! Looking into a live cluster: `windlass explain`, with the groups as AWS has them, what the
//! autoscaler remembers, and its flags; and `/snapshotz`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use windlass_e2e::Run;
use windlass_testbed::{Boot, Group, Testbed, User, Workload, wait_for};

const SOON: Duration = Duration::from_secs(90);
const DISCOVERY: &str = "--node-group-auto-discovery=asg:tag=k8s.io/cluster-autoscaler/enabled,\
                         k8s.io/cluster-autoscaler/demo";
const UNNEEDED: &str = "--scale-down-unneeded-time=1h";
/// The autoscaler's pod, as far as the lease and its flags are concerned.
const POD: &str = "windlass-0";

fn explain(testbed: &Testbed, subject: &[&str], more: &[&str]) -> Result<String> {
    let kubeconfig = testbed.kubeconfig(User::Admin);
    let output = Command::new(windlass_e2e::binary()?)
        .arg("explain")
        .args(subject)
        .arg("--kubeconfig")
        .arg::<&Path>(&kubeconfig)
        .args(more)
        .envs(Testbed::aws_environment(&testbed.moto_url()))
        .output()
        .context("start windlass")?;
    let talk = String::from_utf8_lossy(&output.stderr);
    ensure!(!talk.contains("panicked"), "{talk}");
    if !output.status.success() {
        bail!("{}: {talk}", output.status);
    }
    String::from_utf8(output.stdout).context("read the answer")
}

fn explain_as_json(testbed: &Testbed, subject: &[&str], more: &[&str]) -> Result<Value> {
    let text = explain(testbed, subject, &[&["-o", "json"], more].concat())?;
    serde_json::from_str(&text).with_context(|| format!("read `{text}`"))
}

/// Where a value of a group's next node is from.
fn source<'a>(explanation: &'a Value, part: &str) -> &'a str {
    let parts = explanation["template"].as_array();
    let part = parts.into_iter().flatten().find(|it| it["part"] == part);
    part.and_then(|part| part["source"].as_str())
        .unwrap_or_default()
}

fn verdict(explanation: &Value) -> &str {
    explanation["verdict"].as_str().unwrap_or_default()
}

/// What new nodes are taken for: of `web` as its nodes are, of `empty` as AWS describes it. A node
/// is a template from its second minute on; until then what nodes of its type have been seen to
/// give counts.
fn next_nodes_are_told(testbed: &Testbed, group: &Value, flags: &[&str]) -> Result<()> {
    let cpu = source(group, "allocatable cpu");
    ensure!(
        cpu.starts_with("node ") || cpu == "nodes of the same instance type and image",
        "{group:#}"
    );
    let found_by = group["aws"]["foundBy"].as_str().unwrap_or_default();
    ensure!(
        found_by.starts_with("--node-group-auto-discovery"),
        "{group:#}"
    );
    let empty = explain_as_json(testbed, &["group", "empty"], flags)?;
    for (part, from) in [
        ("label team", "tag of the Auto Scaling group"),
        ("label node.kubernetes.io/instance-type", "instance type"),
        (
            "label topology.kubernetes.io/zone",
            "the Auto Scaling group",
        ),
    ] {
        ensure!(source(&empty, part) == from, "{part}: {empty:#}");
    }
    let text = explain(testbed, &["group", "empty"], flags)?;
    ensure!(
        text.contains("price: $0.0960 an hour by the built-in prices"),
        "{text}"
    );
    Ok(())
}

#[test]
fn pods_nodes_and_groups_are_explained_as_the_leader_sees_them() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let group = Group::new("web").sizes(1, 10, 2).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    let empty = Group::new("empty").sizes(0, 10, 0).discovered_by("demo");
    let label = "k8s.io/cluster-autoscaler/node-template/label/team";
    testbed.aws().create_group(&empty.tag(label, "ml"))?;
    let cluster = testbed.cluster();
    cluster.wait_for_ready_nodes(2, SOON)?;
    cluster.deploy(&Workload::new("web", 1).requests("1500m", "64Mi"))?;
    cluster.wait_until_all_run("default", "web", 1, SOON)?;
    cluster.deploy(&Workload::new("huge", 1).requests("64", "64Mi"))?;
    let huge = wait_for("a pod that nothing holds", SOON, || {
        let pod = cluster.pods_of("default", "huge")?.into_iter().next();
        Ok(pod.and_then(|pod| pod.metadata.name))
    })?;
    let huge = format!("default/{huge}");
    let flags = ["--", DISCOVERY, UNNEEDED];

    // By flags, before any autoscaler has run.
    let pod = wait_for("the scheduler's verdict", SOON, || {
        let pod = explain_as_json(testbed, &["pod", &huge], &flags)?;
        Ok((verdict(&pod) == "Unschedulable").then_some(pod))
    })?;
    let too_big = json!({
        "group": "web", "check": "NodeResourcesFit", "have": "2", "need": "64", "unit": "cpu",
    });
    ensure!(
        pod["chain"]
            .as_array()
            .is_some_and(|chain| chain.contains(&too_big)),
        "{pod:#}"
    );
    let group = explain_as_json(testbed, &["group", "web"], &flags)?;
    ensure!(verdict(&group) == "NoPodFits", "{group:#}");
    next_nodes_are_told(testbed, &group, &flags)?;
    let node = cluster.nodes()?.into_iter().find_map(|node| {
        let name = node.metadata.name?;
        let pods = cluster.pods_of("default", "web").ok()?;
        let is_free = pods
            .iter()
            .all(|pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) != Some(&name));
        is_free.then_some(name)
    });
    let node = node.context("one node is free")?;

    let refused = explain(testbed, &["pod", "default/nobody"], &flags).unwrap_err();
    ensure!(
        format!("{refused:#}").contains("there is no pod default/nobody"),
        "{refused:#}"
    );
    let nobody = explain(testbed, &["node", &node], &[]).unwrap_err();
    ensure!(
        format!("{nobody:#}").contains("give the autoscaler's flags after `--`"),
        "{nobody:#}"
    );

    // With the flags of the pod that leads, and what it remembers.
    cluster.apply_object(&json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "namespace": "kube-system"},
        "spec": {
            "schedulerName": "nobody",
            "containers": [{
                "name": "windlass",
                "image": "registry.invalid/windlass",
                "command": ["windlass", "run", DISCOVERY, UNNEEDED],
            }],
        },
    }))?;
    let windlass = Run::of_cluster("demo")
        .flag(UNNEEDED)
        .host_name(POD)
        .start(testbed, "windlass")?;
    wait_for("an unneeded node", SOON, || {
        Ok(windlass.sample("cluster_autoscaler_unneeded_nodes_count")? > 0.0)
    })?;
    let text = explain(testbed, &["node", &node], &[])?;
    ensure!(
        text.contains("it is unneeded, but not for long enough yet") && text.contains("1h0m0s"),
        "{text}"
    );
    let yaml = explain(testbed, &["group", "web"], &["-o", "yaml"])?;
    ensure!(yaml.contains("verdict: NoPodFits"), "{yaml}");
    windlass.check_for_panics()
}

#[test]
fn a_debugging_snapshot_has_what_one_loop_saw() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let group = Group::new("web").sizes(1, 10, 1).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    let cluster = testbed.cluster();
    cluster.wait_for_ready_nodes(1, SOON)?;
    cluster.deploy(&Workload::new("web", 1).requests("1500m", "64Mi"))?;
    cluster.wait_until_all_run("default", "web", 1, SOON)?;
    let windlass = Run::of_cluster("demo")
        .flags(["--debugging-snapshot-enabled", "--scan-interval=1s"])
        .start(testbed, "windlass")?;
    windlass.wait_for_log("decided", SOON)?;
    // The next node takes its time, and counts as on its way.
    testbed.joiner().set_boot("web", Boot::never());
    cluster.deploy(&Workload::new("more", 1).requests("1500m", "64Mi"))?;
    let is_asked_for = || Ok(testbed.aws().group("web")?.desired == 2);
    wait_for("another node to be asked for", SOON, is_asked_for)?;
    let snapshot = wait_for("a snapshot with the node on its way", SOON, || {
        let (status, text) = windlass.http_get("/snapshotz")?;
        ensure!(status == 200, "{status}: {text}");
        let snapshot: Value = serde_json::from_str(&text)?;
        let nodes = snapshot["NodeList"].as_array().map_or(0, Vec::len);
        Ok((nodes == 2).then_some(snapshot))
    })?;
    let pods = |place: &Value| -> Vec<String> {
        let pods = place["Pods"].as_array().into_iter().flatten();
        pods.filter_map(|pod| pod["metadata"]["labels"]["app"].as_str())
            .map(str::to_owned)
            .collect()
    };
    let real = cluster.nodes()?.remove(0).metadata.name;
    let nodes = snapshot["NodeList"].as_array().context("a list")?;
    let seen = nodes
        .iter()
        .find(|place| place["Node"]["metadata"]["name"].as_str() == real.as_deref());
    let seen = seen.context("the real node is there")?;
    ensure!(pods(seen) == ["web"], "{seen:#}");
    ensure!(seen["Node"]["status"]["capacity"]["cpu"] == "2", "{seen:#}");
    let template = &snapshot["TemplateNodes"]["web"];
    ensure!(
        template["Node"]["status"]["capacity"]["cpu"] == "2",
        "{template:#}"
    );
    let placed = snapshot["UnscheduledPodsCanBeScheduled"].as_array();
    let placed = placed.map_or(0, Vec::len);
    ensure!(
        placed == 1,
        "the pod fits the node on its way: {snapshot:#}"
    );
    ensure!(snapshot.get("Error").is_none(), "{snapshot:#}");
    windlass.check_for_panics()
}
