//! `windlass doctor`: each precondition that does not hold is told with what to do, and nothing is
//! changed by looking.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use windlass_e2e::Run;
use windlass_testbed::{Testbed, User, wait_for};

const SOON: Duration = Duration::from_mins(1);

fn cluster_file(testbed: &Testbed) -> Result<()> {
    let xml = testbed.aws().query("ec2", "DescribeSubnets", &[])?;
    let subnet = xml
        .split("<subnetId>")
        .nth(1)
        .and_then(|rest| rest.split('<').next())
        .context("there is a subnet")?;
    let text = format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: Cluster\nspec:\n  cluster: demo\n  \
         region: {}\n  endpoint: api.example.com:443\n  kubernetes: v1.36.3\n  \
         subnets: [{subnet}]\n  securityGroups: [sg-1]\n  \
         defaults: {{image: {{id: ami-1e749f67}}, instanceType: m5.large}}\n  groups:\n  \
         - {{name: web, min: 0, max: 3}}\n",
        windlass_testbed::REGION
    );
    fs::write(testbed.directory().join("cluster.yaml"), text).context("write the file")
}

fn windlass(testbed: &Testbed, arguments: &[&str]) -> Result<Output> {
    Command::new(windlass_e2e::binary()?)
        .args(arguments)
        .arg("--config")
        .arg(testbed.directory().join("cluster.yaml"))
        .env("KUBECONFIG", testbed.kubeconfig(User::Admin))
        .envs(Testbed::aws_environment(&testbed.moto_url()))
        .stdin(Stdio::null())
        .output()
        .context("run windlass")
}

/// The findings, as `standing what`.
fn findings(testbed: &Testbed) -> Result<Vec<String>> {
    let output = windlass(testbed, &["doctor", "-o", "json"])?;
    let findings: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or("").to_owned();
    let items = findings.as_array().context("a list")?;
    for finding in items {
        let has_fix = !text(finding, "fix").is_empty();
        ensure!(has_fix == (finding["standing"] != "ok"), "{finding}");
    }
    Ok(items
        .iter()
        .map(|finding| format!("{} {}", text(finding, "standing"), text(finding, "what")))
        .collect())
}

#[track_caller]
fn expect(findings: &[String], standing: &str, part: &str) -> Result<()> {
    let is_told = findings
        .iter()
        .any(|finding| finding.starts_with(standing) && finding.contains(part));
    ensure!(is_told, "no `{standing} … {part}` in {findings:#?}");
    Ok(())
}

#[test]
fn what_is_missing_is_told_and_then_found_to_be_there() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed)?;
    let began = jiff::Timestamp::now();
    let before = findings(testbed)?;
    expect(&before, "ok", "the configuration is valid")?;
    expect(&before, "ok", "AWS answers as")?;
    expect(&before, "ok", "the API server is v1.36.3")?;
    expect(
        &before,
        "warning",
        "Auto Scaling group `demo-web` is not there",
    )?;
    expect(
        &before,
        "failed",
        "parameter /windlass/demo/join is not there",
    )?;
    expect(&before, "failed", "cluster-info is not there")?;
    expect(&before, "failed", "no autoscaler has ever taken its lease")?;
    let admin = testbed
        .audit(began)?
        .into_iter()
        .filter(|record| record.user.contains("admin"))
        .count();
    ensure!(admin == 0, "it wrote something");

    let applied = windlass(testbed, &["provision", "apply", "--yes"])?;
    ensure!(
        applied.status.success(),
        "{}",
        String::from_utf8_lossy(&applied.stderr)
    );
    let _windlass = Run::of_cluster("demo").start(testbed, "windlass")?;
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "cluster-autoscaler", "namespace": "kube-system" },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": { "app": "ca" } },
            "template": {
                "metadata": { "labels": { "app": "ca" } },
                "spec": { "containers": [{
                    "name": "ca",
                    "image": "windlass:v1",
                    "args": ["--node-group-auto-discovery=asg:tag=\
                              k8s.io/cluster-autoscaler/enabled,k8s.io/cluster-autoscaler/dem0"],
                }] },
            },
        },
    });
    testbed.cluster().apply_object(&deployment)?;
    wait_for("the autoscaler to be found", SOON, || {
        Ok(expect(&findings(testbed)?, "ok", "the autoscaler runs").is_ok())
    })?;
    let after = findings(testbed)?;
    testbed.cluster().delete_object(&deployment)?;
    expect(&after, "ok", "5 AWS resources are as the file says")?;
    expect(&after, "failed", "holds no join credential")?;
    expect(&after, "failed", "looks for k8s.io/cluster-autoscaler/dem0")?;
    Ok(())
}

#[test]
fn a_file_that_is_wrong_is_the_only_finding() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let path = testbed.directory().join("cluster.yaml");
    fs::write(&path, "kind: Pod\n").context("write the file")?;
    let output = windlass(testbed, &["doctor"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.code() == Some(2), "{text}");
    ensure!(
        text.starts_with("FAIL  ") && text.lines().count() == 1,
        "{text}"
    );
    Ok(())
}
