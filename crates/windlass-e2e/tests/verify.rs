//! `windlass verify` against a running Windlass: a pass, each verdict provoked, and nothing left
//! behind however a run ends.

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use windlass_e2e::{Run, Windlass, expect};
use windlass_testbed::{Boot, Group, Testbed, User, Workload, wait_for};

const SOON: Duration = Duration::from_secs(90);

fn command(testbed: &Testbed, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(windlass_e2e::binary()?);
    command
        .arg("verify")
        .args(arguments)
        .env("KUBECONFIG", testbed.kubeconfig(User::Admin))
        .stdin(Stdio::null());
    Ok(command)
}

fn verify(testbed: &Testbed, arguments: &[&str]) -> Result<Output> {
    command(testbed, arguments)?
        .output()
        .context("run windlass verify")
}

/// A test bed with a group that may grow, and Windlass on it.
fn running(testbed: &'static Testbed) -> Result<Windlass> {
    let group = Group::new("web").sizes(1, 4, 1).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    testbed.cluster().wait_for_ready_nodes(1, SOON)?;
    let windlass = Run::of_cluster("demo")
        .flags([
            "--scan-interval=5s",
            "--scale-down-unneeded-time=5s",
            "--scale-down-delay-after-add=5s",
            "--node-delete-delay-after-taint=1s",
            "--unremovable-node-recheck-timeout=5s",
        ])
        .start(testbed, "windlass")?;
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

/// Fails if anything of a run is there.
fn nothing_is_left(testbed: &Testbed) -> Result<()> {
    let cluster = testbed.cluster();
    let of_verify = ListParams::default().labels("windlass.dev/verify");
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    let priorities: Api<PriorityClass> = Api::all(cluster.client());
    let left = cluster.run(async {
        let namespaces = namespaces.list(&of_verify).await?;
        let priorities = priorities.list(&of_verify).await?;
        let names = namespaces.iter().map(ResourceExt::name_any);
        let names = names.chain(priorities.iter().map(ResourceExt::name_any));
        anyhow::Ok(names.collect::<Vec<_>>())
    })?;
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

#[test]
fn two_nodes_come_and_go_and_nothing_is_left() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let windlass = running(testbed)?;
    let arguments = ["--nodes=2", "--dry-run"];
    expect(&verify(testbed, &arguments)?, 0, "want +2 nodes")?;
    nothing_is_left(testbed)?;
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
    nothing_is_left(testbed)?;
    windlass.check_for_panics()
}

#[test]
fn what_stands_in_the_way_is_told_before_anything_is_made() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    expect(&verify(testbed, &[])?, 3, "the autoscaler does not run")?;
    let _windlass = running(testbed)?;
    expect(&verify(testbed, &["--nodes=7"])?, 3, "may grow by 3")?;
    expect(&verify(testbed, &["--nodes=11"])?, 3, "with --yes")?;
    expect(
        &verify(testbed, &["--namespace=default"])?,
        3,
        "is somebody's",
    )?;
    let mut huge = Workload::new("huge", 1);
    huge = huge.requests("64", "64Mi");
    testbed.cluster().deploy(&huge)?;
    wait_for("a pod that fits nowhere", SOON, || {
        let output = verify(testbed, &["--dry-run"])?;
        Ok(output.status.code() == Some(3))
    })?;
    expect(
        &verify(testbed, &["--dry-run"])?,
        3,
        "pods of others are unschedulable",
    )?;
    expect(
        &verify(testbed, &["--dry-run", "--force"])?,
        0,
        "want +1 nodes",
    )?;
    nothing_is_left(testbed)
}

#[test]
fn each_verdict_is_named_rightly() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let mut windlass = running(testbed)?;
    let huge = ["--cpu=64", "--timeout=30s"];
    expect(&verify(testbed, &huge)?, 1, "no group fits")?;

    let full = Group::new("full")
        .sizes(1, 1, 1)
        .tag("k8s.io/cluster-autoscaler/node-template/label/tier", "full")
        .discovered_by("demo");
    testbed.aws().create_group(&full)?;
    testbed.cluster().wait_for_ready_nodes(2, SOON)?;
    in_the_status(testbed, "full")?;
    let full = ["--selector=tier=full", "--timeout=30s"];
    expect(&verify(testbed, &full)?, 1, "at maximum")?;

    testbed.joiner().set_boot("web", Boot::never());
    wait_for("a run that needs a node", 3 * SOON, || {
        let output = verify(testbed, &["--timeout=30s"])?;
        // A node that was counted out and came back at once holds the pods: the run says so.
        if String::from_utf8_lossy(&output.stdout).contains("room was free") {
            return Ok(false);
        }
        expect(&output, 1, "no node registered")?;
        Ok(true)
    })?;
    nothing_is_left(testbed)?;

    // Killed while the pods wait: nobody renews the lease from then on.
    let mut child = command(testbed, &["--cpu=64", "--timeout=60s", "--force"])?
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start windlass verify")?;
    wait_for_pods(testbed)?;
    windlass.kill();
    let output = wait_with_output(&mut child)?;
    expect(&output, 1, "autoscaler not running")?;
    nothing_is_left(testbed)
}

#[test]
fn a_node_that_the_pods_cannot_go_to_is_told_with_its_taint() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let _windlass = running(testbed)?;
    let mut tainted = Boot::after(Duration::from_secs(1));
    let words = ["dedicated", "other", "NoSchedule"].map(str::to_owned);
    tainted.taints.push(words.into());
    testbed.joiner().set_boot("web", tainted);
    let output = verify(testbed, &["--timeout=45s"])?;
    expect(&output, 1, "dedicated=other:NoSchedule")?;
    nothing_is_left(testbed)
}

fn wait_for_pods(testbed: &Testbed) -> Result<()> {
    wait_for("the run's pods", SOON, || {
        Ok(!testbed.cluster().pods("windlass-verify")?.is_empty())
    })
}

fn wait_with_output(child: &mut Child) -> Result<Output> {
    use std::io::Read as _;
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

#[test]
fn an_interrupt_and_a_kill_leave_nothing_that_cannot_be_removed() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let _windlass = running(testbed)?;
    let start = || -> Result<Child> {
        let child = command(testbed, &["--cpu=64", "--timeout=5m", "--force"])?
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start windlass verify")?;
        wait_for_pods(testbed)?;
        Ok(child)
    };
    let mut interrupted = start()?;
    let process = interrupted.id().to_string();
    let status = Command::new("kill").args(["-INT", &process]).status()?;
    ensure!(status.success(), "it is there to be interrupted");
    let output = wait_with_output(&mut interrupted)?;
    ensure!(output.status.code() == Some(4), "{}", output.status);
    nothing_is_left(testbed)?;

    let mut killed = start()?;
    killed.kill().context("kill it")?;
    killed.wait().context("wait for it")?;
    expect(&verify(testbed, &[])?, 3, "--cleanup")?;
    expect(&verify(testbed, &["--cleanup"])?, 0, "Nothing is left")?;
    nothing_is_left(testbed)
}

#[test]
fn a_namespace_of_somebody_else_is_never_deleted() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "theirs" },
    });
    testbed.cluster().apply_object(&namespace)?;
    expect(
        &verify(testbed, &["--cleanup", "--namespace=theirs"])?,
        1,
        "left alone",
    )?;
    testbed.cluster().delete_object(&namespace)
}
