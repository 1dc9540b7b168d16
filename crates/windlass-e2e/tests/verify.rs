//! `windlass verify` against a running Windlass, under the rights that are rendered for it: a pass,
//! each verdict provoked, and nothing left behind however a run ends.
//!
//! | verdict | provoked in |
//! |---|---|
//! | autoscaler not running | `an_autoscaler_that_ends_meanwhile_is_told` |
//! | no group fits, at maximum, taints | `each_verdict_is_named_rightly` |
//! | no instance came; an instance, and no node | `aws_says_whether_there_is_an_instance` |
//! | node not Ready, not initialized, other labels than promised | `each_stage_of_a_node_is_told` |
//! | pods that do not run | `pods_that_do_not_run_are_told` |
//! | a group was raised, and no node (AWS not asked) | `a_node_that_does_not_come_is_told` |
//! | it has said nothing | `an_autoscaler_that_says_nothing_is_told` |
//! | room was free | `room_that_gets_free_is_no_pass` |
//! | nodes were not removed in time; nodes with pods of others are gone | `a_scale_down_that_fails_is_told` |

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use windlass_e2e::{
    Run, Tool, Windlass, apply_component, expect, nth_call, service_account_kubeconfig, values,
    was_held,
};
use windlass_faults::Supply;
use windlass_testbed::proxy::{Act, HeldRequest, Hold, Matcher};
use windlass_testbed::{
    Boot, Group, Kubelet, Proxy, REGION, Testbed, User, Workload, is_ready, wait_for,
};

const SOON: Duration = Duration::from_secs(90);
const WORDS: &str = "We currently do not have sufficient m5.large capacity.";

fn command(kubeconfig: &Path, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(windlass_e2e::binary()?);
    command
        .arg("verify")
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null());
    Ok(command)
}

/// Who a run is: the account that is rendered for it, in its own namespace.
fn account(testbed: &Testbed) -> Result<PathBuf> {
    apply_component(testbed, &Tool::of(testbed), "verify")?;
    service_account_kubeconfig(testbed, "windlass-verify")
}

fn verify(testbed: &Testbed, arguments: &[&str]) -> Result<Output> {
    verify_as(&account(testbed)?, arguments)
}

fn verify_as(kubeconfig: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = command(kubeconfig, arguments)?;
    command.output().context("run windlass verify")
}

/// With AWS asked too, at this address, by a cluster's file without groups.
fn verify_with_aws(testbed: &Testbed, aws: &str, arguments: &[&str]) -> Result<Output> {
    verify_with_groups(testbed, aws, "", arguments)
}

/// The same by a file with more in its specification.
fn verify_with_groups(
    testbed: &Testbed,
    aws: &str,
    more: &str,
    arguments: &[&str],
) -> Result<Output> {
    let file = testbed.directory().join("verify.yaml");
    let text = format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: Cluster\nspec:\n  cluster: demo\n  region: {REGION}\n  \
         endpoint: api.example.com:443\n  kubernetes: v1.36.3\n  subnets: [subnet-1]\n  \
         securityGroups: [sg-1]\n{more}"
    );
    std::fs::write(&file, text)?;
    let mut command = command(&account(testbed)?, arguments)?;
    let command = command.arg("--config").arg(&file);
    let command = command.envs(Testbed::aws_environment(aws));
    command.output().context("run windlass verify")
}

/// How Windlass is run.
fn run() -> Run {
    Run::of_cluster("demo").flags([
        "--scan-interval=5s",
        "--scale-down-unneeded-time=5s",
        "--scale-down-delay-after-add=5s",
        "--node-delete-delay-after-taint=1s",
        "--unremovable-node-recheck-timeout=5s",
    ])
}

/// A test bed with a group that may grow, and Windlass on it.
fn running(testbed: &'static Testbed) -> Result<Windlass> {
    running_as(testbed, &run())
}

fn running_as(testbed: &'static Testbed, run: &Run) -> Result<Windlass> {
    let group = Group::new("web").sizes(1, 4, 1).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    testbed.cluster().wait_for_ready_nodes(1, SOON)?;
    let windlass = run.start(testbed, "windlass")?;
    in_the_status(testbed, "web")?;
    Ok(windlass)
}

/// Waits until the status tells of a group, which is what a preflight looks at.
fn in_the_status(testbed: &Testbed, group: &str) -> Result<()> {
    wait_for("the group in the status", 2 * SOON, || {
        let status = testbed
            .cluster()
            .config_map("kube-system", "cluster-autoscaler-status")?;
        let text = status
            .and_then(|map| map.data)
            .and_then(|mut data| data.remove("status"))
            .unwrap_or_default();
        Ok(text.contains(&format!("name: {group}\n")))
    })
}

/// Fails if anything of a run is there, whatever its namespace.
fn nothing_is_left(testbed: &Testbed) -> Result<()> {
    let left = left(testbed)?;
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

fn left(testbed: &Testbed) -> Result<Vec<String>> {
    let cluster = testbed.cluster();
    let of_verify = ListParams::default().labels("windlass.dev/verify");
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    let priorities: Api<PriorityClass> = Api::all(cluster.client());
    cluster.run(async {
        let namespaces = namespaces.list(&of_verify).await?;
        let priorities = priorities.list(&of_verify).await?;
        let names = namespaces.iter().map(ResourceExt::name_any);
        let names = names.chain(priorities.iter().map(ResourceExt::name_any));
        Ok(names.collect())
    })
}

#[test]
fn two_nodes_come_and_go_and_nothing_is_left() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let windlass = running(testbed)?;
    // What a killed run has left long ago goes before a run, and neither for a look nor for a run that
    // is refused.
    testbed.cluster().apply_object(&json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": "windlass-verify",
            "labels": { "windlass.dev/verify": "killed" },
            "annotations": { "windlass.dev/expires": "2020-01-01T00:00:00Z" },
        },
    }))?;
    let told = expect(&verify(testbed, &["--nodes=2", "--dry-run"])?, 0, "want +2")?;
    ensure!(told.contains("has expired: a run removes it"), "{told}");
    expect(&verify(testbed, &["--nodes=7"])?, 3, "may grow by 3")?;
    let there = left(testbed)?;
    ensure!(there == ["windlass-verify"], "left: {there:?}");
    let output = verify(
        testbed,
        &[
            "--nodes=2",
            "--timeout=90s",
            "--scale-down",
            "--scale-down-timeout=4m",
            "-o",
            "json",
        ],
    )?;
    expect(&output, 0, "pods running")?;
    let report: Value = serde_json::from_slice(&output.stdout).context("read the report")?;
    let nodes = report["new_nodes"].as_array().map(Vec::len);
    ensure!(nodes == Some(2), "{report:#}");
    let phases = &report["phases"];
    let time = |value: &Value| value.as_f64().context("a phase has its time");
    ensure!(
        time(&phases["decided"])? <= time(&phases["all_running"])?,
        "{report:#}"
    );
    ensure!(
        time(&phases["all_running"])? < time(&report["scaled_down"])?,
        "{report:#}"
    );
    ensure!(testbed.aws().group("web")?.instances.len() == 1);
    let of_pods = &report["percentiles"]["pod_running"];
    ensure!(
        time(&of_pods["p50"])? <= time(&of_pods["max"])?,
        "{report:#}"
    );
    ensure!(
        report["nodes"].as_array().map(Vec::len) == Some(2),
        "{report:#}"
    );
    ensure!(report["versions"]["kubernetes"] == "v1.36.3", "{report:#}");
    nothing_is_left(testbed)?;
    windlass.check_for_panics()
}

#[test]
fn what_stands_in_the_way_is_told_before_anything_is_made() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let kubeconfig = account(testbed)?;
    let refused = |arguments: &[&str], part: &str| {
        expect(&verify_as(&kubeconfig, arguments)?, 3, part).map(drop)
    };
    refused(&[], "the autoscaler does not run")?;
    let without_groups = run().start(testbed, "windlass")?;
    wait_for("a status without groups", SOON, || {
        Ok(refused(&[], "has found no groups").is_ok())
    })?;
    drop(without_groups);
    let _windlass = running(testbed)?;
    refused(&["--nodes=7"], "may grow by 3")?;
    refused(&["--nodes=11"], "with --yes")?;
    refused(&["--churn=2,11"], "with --yes")?;
    // Another namespace is none of this account's; an administrator has the rights there.
    refused(&["--namespace=default"], "not allowed: ")?;
    let admin = testbed.kubeconfig(User::Admin);
    let foreign = verify_as(&admin, &["--namespace=default"])?;
    expect(&foreign, 3, "namespace default is somebody's")?;
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": { "name": "theirs" }, "value": 1,
    });
    testbed.cluster().apply_object(&class)?;
    let foreign = verify_as(&admin, &["--namespace=theirs"]);
    testbed.cluster().delete_object(&class)?;
    expect(&foreign?, 3, "PriorityClass theirs is somebody's")?;
    let no_token = verify_with_aws(testbed, &testbed.moto_url(), &[])?;
    expect(&no_token, 3, "parameter /windlass/demo/join is not there")?;
    let huge = Workload::new("huge", 1).requests("64", "64Mi");
    testbed.cluster().deploy(&huge)?;
    wait_for("a pod that fits nowhere", SOON, || {
        Ok(refused(&["--dry-run"], "pods of others are unschedulable").is_ok())
    })?;
    let forced = verify_as(&kubeconfig, &["--dry-run", "--force", "--nodes=2"])?;
    let told = expect(&forced, 0, "want +2 nodes")?;
    // Two nodes of the group's type: a price that is built in.
    ensure!(told.contains("about $0.192 an hour"), "{told}");
    nothing_is_left(testbed)
}

/// A group from zero whose nodes promise `tier=NAME`, for runs beside each other. One node alone: a
/// second might register just before the verdict.
fn tier(testbed: &Testbed, name: &str, boot: Boot) -> Result<()> {
    let label = "k8s.io/cluster-autoscaler/node-template/label/tier";
    let group = Group::new(name).sizes(0, 1, 0).tag(label, name);
    testbed.joiner().set_boot(name, boot);
    testbed.aws().create_group(&group.discovered_by("demo"))
}

#[test]
fn each_verdict_is_named_rightly() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let words = ["dedicated", "other", "NoSchedule"].map(str::to_owned);
    let mut tainted = Boot::after(Duration::from_secs(1));
    tainted.taints.push(words.into());
    tier(testbed, "tainted", tainted)?;
    let _windlass = running(testbed)?;
    let kubeconfig = account(testbed)?;
    let arguments = ["--cpu=64", "--timeout=15s"];
    expect(&verify_as(&kubeconfig, &arguments)?, 1, "no group fits")?;
    let arguments = ["--selector=tier=tainted", "--cpu=1500m", "--timeout=30s"];
    let told = expect(&verify_as(&kubeconfig, &arguments)?, 1, "do not go there")?;
    // Not alone, where the autoscaler is just taking the node back.
    ensure!(told.contains("[dedicated=other:NoSchedule"), "{told}");

    let full = Group::new("full").sizes(1, 1, 1).discovered_by("demo");
    let label = "k8s.io/cluster-autoscaler/node-template/label/tier";
    testbed.aws().create_group(&full.tag(label, "full"))?;
    in_the_status(testbed, "full")?;
    // Until it takes pods there is no room on it that could be found too small.
    wait_for("the node of the full group to take pods", SOON, || {
        let nodes = testbed.cluster().nodes()?;
        let of_tier = |node: &&Node| node.labels().get("tier").is_some_and(|it| it == "full");
        Ok(nodes.iter().find(of_tier).is_some_and(|node| {
            let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
            is_ready(node) && taints.is_none_or(Vec::is_empty)
        }))
    })?;
    let arguments = [
        "--selector=tier=full",
        "--cpu=1500m",
        "--timeout=15s",
        "--force",
    ];
    expect(&verify_as(&kubeconfig, &arguments)?, 1, "full (1 of 1)")?;
    nothing_is_left(testbed)
}

/// A run on one group alone, from zero.
fn on(selector: &str) -> [&str; 3] {
    [selector, "--cpu=1500m", "--timeout=30s"]
}

#[test]
fn each_stage_of_a_node_is_told() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let soon = || Boot::after(Duration::from_secs(1));
    let mut unready = soon();
    unready.kubelet = Kubelet::HasNoNetwork;
    tier(testbed, "unready", unready)?;
    let mut raw = soon();
    let uninitialized = [
        "node.cloudprovider.kubernetes.io/uninitialized",
        "true",
        "NoSchedule",
    ];
    raw.taints.push(uninitialized.map(str::to_owned).into());
    tier(testbed, "raw", raw)?;
    // The group's tags promise `tier=other`, and its nodes have another tier.
    let mut other = soon();
    other
        .labels
        .insert("tier".to_owned(), "mistyped".to_owned());
    tier(testbed, "other", other)?;
    let _windlass = running(testbed)?;
    for name in ["unready", "raw", "other"] {
        in_the_status(testbed, name)?;
    }
    let kubeconfig = account(testbed)?;
    for (selector, parts) in [
        (
            "--selector=tier=unready",
            [
                "a node registered and is not Ready:",
                "cni plugin not initialized",
            ],
        ),
        (
            "--selector=tier=raw",
            [
                "a node was not initialized:",
                "run a cloud controller manager",
            ],
        ),
        (
            "--selector=tier=other",
            ["the pods do not go there:", "its label tier is mistyped"],
        ),
    ] {
        let mut arguments = on(selector).to_vec();
        // The nodes of the runs before are still there, and not all of them well.
        arguments.push("--force");
        let told = expect(&verify_as(&kubeconfig, &arguments)?, 1, parts[0])?;
        ensure!(told.contains(parts[1]), "no `{}`: {told}", parts[1]);
    }
    nothing_is_left(testbed)
}

#[test]
fn a_node_that_does_not_come_is_told() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    tier(testbed, "never", Boot::never())?;
    let _windlass = running(testbed)?;
    in_the_status(testbed, "never")?;
    let output = verify(testbed, &on("--selector=tier=never"))?;
    let told = expect(&output, 1, "a group was raised, and no node registered:")?;
    ensure!(told.contains("never"), "{told}");
    nothing_is_left(testbed)
}

/// What kubelets go on saying, whether or not they start anything.
fn say_that_kubelets_are_ready(testbed: &Testbed, selector: &str) -> Result<()> {
    let nodes = Api::<Node>::all(testbed.cluster().client());
    let ready = json!({"status": {"conditions": [{
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "kubelet is posting ready status",
        "lastHeartbeatTime": Timestamp::now(),
    }]}});
    let of_group = ListParams::default().labels(selector);
    for node in testbed.run(nodes.list(&of_group))? {
        let (name, patch) = (node.name_any(), Patch::Strategic(&ready));
        testbed.run(nodes.patch_status(&name, &PatchParams::default(), &patch))?;
    }
    Ok(())
}

#[test]
fn pods_that_do_not_run_are_told() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let mut boot = Boot::after(Duration::from_secs(1));
    boot.kubelet = Kubelet::StartsNothing;
    tier(testbed, "idle", boot)?;
    let _windlass = running(testbed)?;
    in_the_status(testbed, "idle")?;
    let kubeconfig = account(testbed)?;
    let mut child = command(&kubeconfig, &on("--selector=tier=idle"))?
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start windlass verify")?;
    let pods = Api::<Pod>::namespaced(testbed.cluster().client(), "windlass-verify");
    wait_for("pods that are to end", SOON, || {
        say_that_kubelets_are_ready(testbed, "tier=idle")?;
        let found = testbed.run(pods.list(&ListParams::default()))?;
        Ok(found
            .iter()
            .any(|pod| pod.metadata.deletion_timestamp.is_some()))
    })?;
    // The kubelet comes back, and says that they have ended.
    let at_once = DeleteParams::default().grace_period(0);
    testbed.run(pods.delete_collection(&at_once, &ListParams::default()))?;
    let output = wait_with_output(&mut child)?;
    expect(&output, 1, "the pods have nodes and do not run")?;
    nothing_is_left(testbed)
}

#[test]
fn an_autoscaler_that_ends_meanwhile_is_told() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let mut windlass = running(testbed)?;
    let kubeconfig = account(testbed)?;
    let mut child = command(&kubeconfig, &["--cpu=64", "--timeout=45s"])?
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start windlass verify")?;
    wait_for_pods(testbed)?;
    // Nobody renews the lease from then on.
    windlass.kill();
    let output = wait_with_output(&mut child)?;
    expect(&output, 1, "autoscaler not running")?;
    nothing_is_left(testbed)
}

#[test]
fn an_autoscaler_that_says_nothing_is_told() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let proxy = testbed.proxy_api_server()?;
    proxy.on(
        Matcher::method("POST", "/events"),
        Act::kubernetes_error(403, "Forbidden"),
    );
    let _windlass = running_as(testbed, &run().api_server_through(testbed, &proxy)?)?;
    let output = verify(testbed, &["--cpu=64", "--timeout=15s"])?;
    expect(&output, 1, "has said nothing about the pods")?;
    nothing_is_left(testbed)
}

#[test]
fn aws_says_whether_there_is_an_instance() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let proxy = testbed.faulty_aws()?;
    let faults = proxy.faults().context("the proxy plays AWS")?;
    tier(testbed, "never", Boot::never())?;
    tier(testbed, "short", Boot::never())?;
    faults.supply("short", Supply::default().most(0).failing_with(WORDS));
    let _windlass = running_as(testbed, &run().aws_through(&proxy))?;
    in_the_status(testbed, "never")?;
    publish(testbed)?;
    let on = |selector| [selector, "--cpu=1500m", "--timeout=20s", "--output=json"];
    let output = verify_with_aws(testbed, proxy.url(), &on("--selector=tier=never"))?;
    let told = expect(&output, 1, "\"verdict\": \"not-joined\"")?;
    for part in ["launched (us-east-1", "i-", "the published token is"] {
        ensure!(told.contains(part), "no `{part}`: {told}");
    }

    let output = verify_with_aws(testbed, proxy.url(), &on("--selector=tier=short"))?;
    let told = expect(&output, 1, "\"verdict\": \"no-instance\"")?;
    ensure!(told.contains(WORDS), "{told}");
    nothing_is_left(testbed)
}

/// One group of the file, which AWS has once for each zone, and whose nodes take no pods that do not
/// tolerate a taint: of both, only the file tells while there is no node.
#[test]
fn an_empty_zonal_group_with_taints_is_scaled_by_the_file() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let mut subnets = Vec::new();
    for zone in ["a", "b"].map(|zone| format!("{REGION}{zone}")) {
        let filter = [
            ("Filter.1.Name", "availability-zone"),
            ("Filter.1.Value.1", zone.as_str()),
        ];
        let found = testbed.aws().query("ec2", "DescribeSubnets", &filter)?;
        subnets.extend(values(&found, "subnetId").into_iter().take(1));
        let template = "k8s.io/cluster-autoscaler/node-template";
        let mut group = Group::new(&format!("demo-data-{zone}"))
            .sizes(0, 1, 0)
            .tag(&format!("{template}/label/windlass.dev/node-group"), "data")
            .tag(&format!("{template}/taint/dedicated"), "data:NoSchedule");
        group.zone = zone;
        let mut boot = Boot::after(Duration::from_secs(1));
        let taint = ["dedicated", "data", "NoSchedule"].map(str::to_owned);
        boot.taints.push(taint.into());
        testbed.joiner().set_boot(&group.name, boot);
        testbed.aws().create_group(&group.discovered_by("demo"))?;
    }
    let _windlass = running(testbed)?;
    in_the_status(testbed, &format!("demo-data-{REGION}b"))?;
    publish(testbed)?;
    let groups = format!(
        "  defaults: {{image: {{id: ami-1}}, instanceType: m5.large}}\n  groups:\n  - {{name: data, \
         min: 0, max: 1, zonal: true, subnets: [{}], taints: ['dedicated=data:NoSchedule']}}\n",
        subnets.join(", ")
    );
    let proxy = testbed.proxy_aws()?;
    let verify = |arguments: &[&str]| verify_with_groups(testbed, proxy.url(), &groups, arguments);
    // Who may not read subnets finds the groups by their names.
    let denied = Act::ec2_error(403, "UnauthorizedOperation");
    proxy
        .on(Matcher::action("DescribeSubnets"), denied)
        .times(1);
    for names in [
        format!("demo-data-{REGION}*"),
        format!("demo-data-{REGION}a, demo-data-{REGION}b"),
    ] {
        let refused = format!("group {names} may grow by 2");
        expect(&verify(&["--group=data", "--nodes=3"])?, 3, &refused)?;
    }
    let output = verify(&["--group=data", "--nodes=2", "--timeout=60s"])?;
    expect(&output, 0, "PASS")?;
    nothing_is_left(testbed)
}

/// A join credential, as a rotator publishes it.
fn publish(testbed: &Testbed) -> Result<()> {
    windlass_e2e::prepare_for_joins(testbed)?;
    let rotate = ["token", "rotate", "--once", "--spread=0s", "--cluster=demo"];
    Tool::of(testbed).run(&rotate)?.expect(0).map(drop)
}

#[test]
fn room_that_gets_free_is_no_pass() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    testbed
        .joiner()
        .set_boot("web", Boot::after(Duration::from_secs(1)));
    let _windlass = running(testbed)?;
    testbed.joiner().set_boot("web", Boot::never());
    let cluster = testbed.cluster();
    let filler = Workload::new("filler", 1).requests("1500m", "64Mi");
    cluster.deploy(&filler)?;
    cluster.wait_until_all_run("default", "filler", 1, SOON)?;
    let mut child = command(&account(testbed)?, &["--timeout=60s"])?
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start windlass verify")?;
    wait_for_pods(testbed)?;
    cluster.delete_deployment("default", "filler")?;
    let output = wait_with_output(&mut child)?;
    expect(&output, 1, "room was free")?;
    nothing_is_left(testbed)
}

#[test]
fn a_scale_down_that_fails_is_told() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let _windlass = running_as(testbed, &run().flag("--scale-down-enabled=false"))?;
    let cluster = testbed.cluster();
    cluster.deploy(&Workload::new("web", 1).requests("100m", "64Mi"))?;
    cluster.wait_until_all_run("default", "web", 1, SOON)?;
    let kubeconfig = account(testbed)?;
    let arguments = ["--scale-down", "--scale-down-timeout=5s", "--timeout=60s"];
    let output = verify_as(&kubeconfig, &arguments)?;
    expect(&output, 2, "were not removed in time")?;

    let arguments = ["--scale-down", "--scale-down-timeout=60s", "--timeout=60s"];
    let mut child = command(&kubeconfig, &arguments)?
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start windlass verify")?;
    let busy = cluster.pods_of("default", "web")?;
    let busy = busy
        .first()
        .and_then(|pod| pod.spec.as_ref()?.node_name.clone());
    let busy = busy.context("the pod of somebody else has a node")?;
    wait_for("its pods to be taken away", SOON, || {
        let deployment = Api::<k8s_openapi::api::apps::v1::Deployment>::namespaced(
            cluster.client(),
            "windlass-verify",
        );
        let found = cluster.run(deployment.get_opt("windlass-verify"))?;
        Ok(found.is_some_and(|it| it.spec.is_some_and(|spec| spec.replicas == Some(0))))
    })?;
    cluster.delete_object(&json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": busy },
    }))?;
    let output = wait_with_output(&mut child)?;
    expect(&output, 2, "nodes with pods of others are gone")?;
    nothing_is_left(testbed)
}

/// Whatever goes wrong once the pods run: CI has a test case that says so, and people a reason.
#[test]
fn what_fails_after_the_scale_up_fails_in_the_result() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let _windlass = running(testbed)?;
    let proxy = testbed.proxy_api_server()?;
    let kubeconfig = testbed.kubeconfig_through(User::Admin, &proxy)?;
    let pods = ["--pods=1", "--cpu=10m", "--timeout=60s"];
    let down = [&pods[..], &["--scale-down", "--output=junit"]].concat();
    let scaled = || Matcher::method("PATCH", "/deployments/");
    let forbidden = || Act::kubernetes_error(403, "Forbidden");
    let failing =
        |why: &str| format!("name=\"scale-down\" time=\"0.0\">\n    <failure message=\"{why}");

    proxy.on(scaled(), forbidden()).times(1);
    let output = verify_as(&kubeconfig, &down)?;
    let told = expect(&output, 2, "tests=\"3\" failures=\"1\"")?;
    ensure!(told.contains(&failing("scale the Deployment")), "{told}");

    let held = proxy.hold(scaled(), Hold::BeforeForwarding);
    let mut child = command(&kubeconfig, &down)?
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start windlass verify")?;
    held.wait(SOON)?;
    let process = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &process]).status()?;
    ensure!(sent.success(), "it is there to be interrupted");
    held.release();
    let output = wait_with_output(&mut child)?;
    let told = expect(&output, 4, "tests=\"3\" failures=\"1\"")?;
    ensure!(told.contains(&failing("interrupted")), "{told}");
    nothing_is_left(testbed)?;

    proxy.on(Matcher::method("DELETE", "/api"), forbidden());
    let output = verify_as(&kubeconfig, &pods)?;
    expect(&output, 5, "FAIL  left behind: namespace windlass-verify")?;
    let admin = testbed.kubeconfig(User::Admin);
    let cleaned = verify_as(&admin, &["--cleanup"])?;
    expect(&cleaned, 0, "Nothing is left")?;
    nothing_is_left(testbed)
}

/// A pod of somebody else that waits, a slow watch and one that breaks: the run passes nevertheless.
#[test]
fn slow_and_broken_watches_cost_time_and_no_more() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let _windlass = running(testbed)?;
    testbed
        .cluster()
        .deploy(&Workload::new("huge", 1).requests("64", "64Mi"))?;
    let proxy = testbed.proxy_api_server()?;
    let watches = || Matcher::new(|request| request.path.contains("watch="));
    proxy.on(watches(), Act::Delay(Duration::from_secs(20)));
    proxy.on(watches(), Act::DropBeforeAnswering).times(6);
    let kubeconfig = testbed.kubeconfig_through(User::Admin, &proxy)?;
    let output = verify_as(&kubeconfig, &["--timeout=90s", "--force"])?;
    expect(&output, 0, "PASS")?;
    let watches = proxy.requests_matching(&watches());
    ensure!(6 < watches.len(), "{} watches", watches.len());
    nothing_is_left(testbed)
}

fn wait_for_pods(testbed: &Testbed) -> Result<()> {
    wait_for("the run's pods", SOON, || {
        Ok(!testbed.cluster().pods("windlass-verify")?.is_empty())
    })
}

fn wait_with_output(child: &mut Child) -> Result<Output> {
    let mut stdout = Vec::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_end(&mut stdout).context("read its output")?;
    }
    let status = child.wait().context("wait for windlass verify")?;
    Ok(Output {
        status,
        stdout,
        stderr: Vec::new(),
    })
}

/// How a run is ended at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Ctrl-C, while the call is on its way; the call then goes on.
    Interrupted,
    /// SIGKILL, when the call has been carried out and not answered; then `--cleanup`.
    Killed,
}

/// Ends a run at its first call, at its second, and so on to its last, which takes its own things
/// away. (Watches change nothing, and are left out.)
#[test]
fn an_end_at_any_call_leaves_nothing() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let _windlass = running(testbed)?;
    let calls: Vec<Result<usize>> = thread::scope(|scope| {
        let runs = [End::Interrupted, End::Killed]
            .map(|end| scope.spawn(move || ended_at_each_call(testbed, end)));
        runs.into_iter()
            .map(|run| run.join().unwrap_or_else(|_| Err(anyhow!("it panicked"))))
            .collect()
    });
    for calls in calls {
        let calls = calls?;
        // Its rights, what there is, four things made, looks, and these taken away again.
        ensure!(35 < calls, "{calls} calls");
    }
    nothing_is_left(testbed)
}

fn ended_at_each_call(testbed: &'static Testbed, end: End) -> Result<usize> {
    let name = format!("verify-{end:?}").to_lowercase();
    let namespace = format!("--namespace={name}");
    let admin = testbed.kubeconfig(User::Admin);
    for call in 0..200 {
        let proxy = testbed.proxy_api_server()?;
        let held = hold(&proxy, call, end);
        let kubeconfig = testbed.kubeconfig_through(User::Admin, &proxy)?;
        let arguments = [
            &namespace,
            "--pods=1",
            "--cpu=10m",
            "--timeout=60s",
            "--force",
        ];
        let mut child = command(&kubeconfig, &arguments)?
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start windlass verify")?;
        if !was_held(&held, &mut child, SOON)? {
            let status = child.wait().context("wait for windlass verify")?;
            ensure!(status.success(), "not ended at all: {status}");
            return Ok(call);
        }
        let context = || format!("{end:?} at call {call}: {:?}", proxy.requests().last());
        match end {
            End::Interrupted => {
                let process = child.id().to_string();
                let sent = Command::new("kill").args(["-INT", &process]).status()?;
                ensure!(sent.success(), "it is there to be interrupted");
                held.release();
                let status = child.wait().context("wait for windlass verify")?;
                ensure!(status.code() == Some(4), "{status}: {}", context());
            }
            End::Killed => {
                child.kill().context("kill it")?;
                child.wait().context("wait for it")?;
                held.refuse();
                let cleaned = verify_as(&admin, &["--cleanup", &namespace])?;
                expect(&cleaned, 0, "Nothing is left").with_context(context)?;
            }
        }
        let left = left(testbed)?;
        ensure!(!left.contains(&name), "left by {}", context());
    }
    bail!("it never came to its end")
}

fn hold(proxy: &Proxy, call: usize, end: End) -> HeldRequest {
    let matcher = nth_call(call, |request| !request.path.contains("watch="));
    let at = match end {
        End::Interrupted => Hold::BeforeForwarding,
        End::Killed => Hold::BeforeAnswering,
    };
    proxy.hold(matcher, at)
}

/// Of two runs at once in one namespace the second makes nothing and takes nothing away.
#[test]
fn what_another_run_or_somebody_else_has_made_is_left_alone() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let _windlass = running(testbed)?;
    let kubeconfig = account(testbed)?;
    let start = |arguments: &[&str]| -> Result<Child> {
        let mut command = command(&kubeconfig, arguments)?;
        let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().context("start windlass verify")
    };
    let waiting = ["--cpu=64", "--timeout=5m", "--force"];
    let mut first = start(&waiting)?;
    wait_for_pods(testbed)?;
    expect(&verify_as(&kubeconfig, &waiting)?, 3, "--cleanup")?;
    // One that has looked before the first had its namespace.
    let proxy = testbed.proxy_api_server()?;
    let hold_namespace = Matcher::method("POST", "/api/v1/namespaces");
    ensure!(left(testbed)?.contains(&"windlass-verify".to_owned()));
    first.kill().context("kill it")?;
    first.wait().context("wait for it")?;
    expect(
        &verify_as(&kubeconfig, &["--cleanup"])?,
        0,
        "Nothing is left",
    )?;
    let held = proxy.hold(hold_namespace, Hold::BeforeForwarding);
    let late = testbed.kubeconfig_through(User::Admin, &proxy)?;
    let mut second = command(&late, &waiting)?
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start windlass verify")?;
    held.wait(SOON)?;
    let mut first = start(&waiting)?;
    // No longer: the second does not wait for its answer for ever.
    wait_for("the first to have the namespace", SOON, || {
        Ok(left(testbed)?.contains(&"windlass-verify".to_owned()))
    })?;
    held.release();
    let output = wait_with_output(&mut second)?;
    expect(&output, 3, "another run has namespace windlass-verify")?;
    wait_for_pods(testbed)?;
    let process = first.id().to_string();
    ensure!(
        Command::new("kill")
            .args(["-INT", &process])
            .status()?
            .success()
    );
    let output = wait_with_output(&mut first)?;
    ensure!(output.status.code() == Some(4), "{}", output.status);
    nothing_is_left(testbed)?;

    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "theirs" },
    });
    testbed.cluster().apply_object(&namespace)?;
    let admin = testbed.kubeconfig(User::Admin);
    expect(
        &verify_as(&admin, &["--cleanup", "--namespace=theirs"])?,
        1,
        "left alone",
    )?;
    testbed.cluster().delete_object(&namespace)
}
