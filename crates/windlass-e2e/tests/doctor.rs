//! `windlass doctor`: each precondition that does not hold is told with what to do, and nothing is
//! changed by looking.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use windlass_e2e::{Credential, Run, Tool, prepare_for_joins};
use windlass_testbed::{Part, Testbed, User, Workload, wait_for};

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
    findings_with(testbed, &[])
}

fn findings_with(testbed: &Testbed, flags: &[&str]) -> Result<Vec<String>> {
    let output = windlass(testbed, &[&["doctor", "-o", "json"], flags].concat())?;
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
    // Another test may have had kubeadm make it.
    testbed.cluster().delete_object(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "cluster-info", "namespace": "kube-public" },
    }))?;
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
    expect(&before, "failed", "there is no security group sg-1")?;
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

/// What joining nodes and `windlass verify` need: told when it is there, and when it is taken away.
#[test]
fn each_precondition_of_joining_is_told_when_it_is_broken() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed)?;
    prepare_for_joins(testbed)?;
    let cluster = testbed.cluster();
    let rotate = ["token", "rotate", "--once", "--spread=0s", "--cluster=demo"];
    Tool::of(testbed).run(&rotate)?.expect(0)?;
    let credential = Credential::of(testbed, "demo");
    let published = credential.published()?;

    let whole = findings_with(testbed, &["--probe"])?;
    expect(&whole, "ok", "joining nodes may ask for their certificates")?;
    expect(&whole, "ok", "is known, and signed")?;
    expect(&whole, "ok", "a token that was tried logs in")?;
    expect(&whole, "ok", "a token that was tried is signed")?;
    expect(&whole, "ok", "no pod waits for room")?;
    let secrets = cluster.api::<Secret>("kube-system");
    let tried = testbed.run(secrets.list(&ListParams::default()))?;
    let is_tried = |secret: &Secret| {
        let data = secret
            .data
            .as_ref()
            .and_then(|data| data.get("description"));
        data.is_some_and(|text| text.0 == b"windlass doctor --probe")
    };
    ensure!(
        !tried.iter().any(is_tried),
        "the token that was tried is there"
    );

    // Rights.
    let bindings = Api::<ClusterRoleBinding>::all(cluster.client());
    for (name, words) in [
        ("kubeadm:kubelet-bootstrap", "system:node-bootstrapper for"),
        (
            "kubeadm:node-autoapprove-certificate-rotation",
            "certificatesigningrequests:selfnodeclient for",
        ),
        (
            "kubeadm:node-autoapprove-bootstrap",
            "certificatesigningrequests:nodeclient for",
        ),
    ] {
        testbed.run(bindings.delete(name, &DeleteParams::default()))?;
        expect(&findings(testbed)?, "failed", words)?;
    }
    let component = ["manifests", "--component", "bootstrap-rbac", "-o", "json"];
    let rendered: Value = serde_json::from_slice(&windlass(testbed, &component)?.stdout)?;
    for object in rendered["items"].as_array().context("a list")? {
        cluster.apply_object(object)?;
    }
    expect(
        &findings(testbed)?,
        "ok",
        "joining nodes may ask for their certificates",
    )?;

    // Requests are approved unseen although the file wants them looked at.
    let file = testbed.directory().join("cluster.yaml");
    let plain = fs::read_to_string(&file)?;
    fs::write(&file, format!("{plain}  csr: {{verify: true}}\n"))?;
    let unseen = findings(testbed)?;
    expect(&unseen, "failed", "requests are approved unseen")?;
    expect(
        &unseen,
        "failed",
        "the approver of certificate requests is not there",
    )?;
    fs::write(&file, &plain)?;

    // A subnet that is not there.
    fs::write(
        &file,
        plain.replace("subnets: [", "subnets: [subnet-0123456789abcdef0, "),
    )?;
    expect(
        &findings(testbed)?,
        "failed",
        "there is no subnet subnet-0123456789abcdef0",
    )?;
    fs::write(&file, &plain)?;

    // A signature of somebody else's, none, and a token that is gone.
    let info = cluster.api::<ConfigMap>("kube-public");
    let key = format!("jws-kubeconfig-{}", published.id());
    testbed.stop(Part::ControllerManager);
    for (value, words) in [
        (json!("forged"), "is not the token's"),
        (Value::Null, "has no signature"),
    ] {
        let patch = json!({ "data": { key.as_str(): value } });
        let parameters = PatchParams::default();
        testbed.run(info.patch("cluster-info", &parameters, &Patch::Merge(&patch)))?;
        expect(&findings(testbed)?, "failed", words)?;
    }
    let unsigned = findings_with(testbed, &["--probe"])?;
    expect(&unsigned, "failed", "a token that was tried is not signed")?;
    let name = format!("bootstrap-token-{}", published.id());
    testbed.run(secrets.delete(&name, &DeleteParams::default()))?;
    expect(&findings(testbed)?, "failed", "its Secret is gone")?;
    testbed.restart(Part::ControllerManager)
}

#[test]
fn what_a_verification_would_stop_at_is_told() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed)?;
    let cluster = testbed.cluster();
    let left = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": "windlass-verify", "labels": { "windlass.dev/verify": "7f" } },
    });
    cluster.apply_object(&left)?;
    cluster.deploy(&Workload::new("huge", 1).requests("64", "64Mi"))?;
    wait_for("a pod that fits nowhere", SOON, || {
        Ok(expect(&findings(testbed)?, "warning", "pods wait for room").is_ok())
    })?;
    expect(
        &findings(testbed)?,
        "warning",
        "in namespace windlass-verify",
    )?;
    cluster.delete_object(&left)
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
