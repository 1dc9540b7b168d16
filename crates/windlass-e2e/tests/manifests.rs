//! What `windlass manifests` renders: the real API server takes it with strict validation, and with
//! the rendered rights alone the how-to's test passes.

#[path = "manifests/charts.rs"]
mod charts;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use windlass_e2e::{
    Run, Tool, apply_component, check_rights, prepare_for_joins, rights_of,
    service_account_kubeconfig,
};
use windlass_testbed::proxy::{Act, Matcher};
use windlass_testbed::{Group, Testbed, Workload, wait_for};

const SOON: Duration = Duration::from_secs(90);
const SHRUNK: Duration = Duration::from_mins(4);
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/cluster.yaml");
const OLD: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../windlass-provision/src/manifests/fix/old.yaml"
);

/// Standard output of the binary under test.
fn windlass(arguments: &[&str]) -> Result<String> {
    let output = Command::new(windlass_e2e::binary()?)
        .args(arguments)
        .output()
        .context("run windlass")?;
    if !output.status.success() {
        bail!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The objects of a rendering; those of kinds that the Prometheus operator brings are left out,
/// since it is not here.
fn objects(arguments: &[&str]) -> Result<Vec<Value>> {
    let list: Value = serde_json::from_str(&windlass(arguments)?)?;
    let items = list["items"].as_array().context("a List has items")?;
    Ok(items
        .iter()
        .filter(|item| item["apiVersion"] != "monitoring.coreos.com/v1")
        .cloned()
        .collect())
}

#[test]
fn the_api_server_takes_every_object_with_strict_validation() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let rendered = objects(&["manifests", "--config", EXAMPLE, "-o", "json"])?;
    ensure!(rendered.len() >= 18, "{} objects", rendered.len());
    for object in &rendered {
        testbed.cluster().check_object(object)?;
    }
    let mended = objects(&["manifests", "--config", EXAMPLE, "--fix", OLD, "-o", "json"])?;
    ensure!(mended.len() == 7, "{} objects", mended.len());
    for object in &mended {
        testbed.cluster().check_object(object)?;
    }
    Ok(())
}

#[test]
fn a_field_that_is_not_there_would_have_been_refused() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let mut objects = objects(&["manifests", "--config", EXAMPLE, "-o", "json"])?;
    let deployment = objects
        .iter_mut()
        .find(|object| object["kind"] == "Deployment")
        .context("there is a Deployment")?;
    deployment["spec"]["template"]["spec"]["hostNetworks"] = true.into();
    let Err(error) = testbed.cluster().check_object(deployment) else {
        bail!("the API server took an unknown field");
    };
    ensure!(format!("{error:#}").contains("hostNetworks"), "{error:#}");
    Ok(())
}

/// The real kubeadm's rights are the measure: the same names, rules, roles and groups.
#[test]
fn joining_nodes_get_the_rights_that_kubeadm_gives() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    prepare_for_joins(testbed)?;
    let config = testbed.directory().join("without-approver.yaml");
    let text = std::fs::read_to_string(EXAMPLE)?;
    ensure!(text.contains("verify: true"), "{EXAMPLE}");
    std::fs::write(&config, text.replace("verify: true", "verify: false"))?;
    let config = config.display().to_string();
    let command = ["manifests", "--config", &config, "-o", "json"];
    let mut compared = 0;
    for object in objects(&[&command[..], &["--component", "bootstrap-rbac"]].concat())? {
        let name = &object["metadata"]["name"];
        if name == "kube-proxy" {
            // The add-on, which the test bed has not, would have made it.
            testbed.cluster().check_object(&object)?;
            continue;
        }
        let kind = object["kind"].as_str().unwrap_or_default();
        let kind = GroupVersionKind::gvk("rbac.authorization.k8s.io", "v1", kind);
        let kind = ApiResource::from_gvk(&kind);
        let client = testbed.cluster().client();
        let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(client, namespace, &kind),
            None => Api::all_with(client, &kind),
        };
        let name = name.as_str().unwrap_or_default();
        let of_kubeadm = serde_json::to_value(testbed.run(api.get(name))?)?;
        for part in ["rules", "roleRef"] {
            ensure!(object[part] == of_kubeadm[part], "{name}: {of_kubeadm}");
        }
        // In which order they are named means nothing.
        let subjects = |object: &Value| -> BTreeSet<String> {
            let subjects = object["subjects"].as_array().into_iter().flatten();
            subjects.map(ToString::to_string).collect()
        };
        let ours = subjects(&object);
        ensure!(ours == subjects(&of_kubeadm), "{name}: {of_kubeadm}");
        compared += 1;
    }
    ensure!(compared == 9, "{compared} objects");
    Ok(())
}

/// Up and down again with the rendered roles, which every suite starts Windlass with: nothing is
/// refused, and by the API server's audit log no verb was granted that was not used. The API server
/// streams no lists, as those before Kubernetes 1.34 do not, so that the right to list is needed too.
#[test]
fn the_rendered_rights_are_enough_and_none_is_spare() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let cluster = testbed.cluster();
    let began = Timestamp::now();
    let rendered = objects(&["manifests", "--config", EXAMPLE, "-o", "json"])?;
    let is_of_the_autoscaler = |object: &&Value| object["metadata"]["name"] == "cluster-autoscaler";
    let granted: Vec<Value> = rendered
        .iter()
        .filter(is_of_the_autoscaler)
        .cloned()
        .collect();
    two_nodes_with_a_pod_each(testbed)?;
    let proxy = testbed.proxy_api_server()?;
    proxy.on(
        Matcher::new(|request| request.path.contains("sendInitialEvents")),
        Act::kubernetes_error(422, "Invalid"),
    );
    let windlass = Run::of_cluster("demo")
        .flags([
            "--scan-interval=5s",
            "--scale-down-unneeded-time=5s",
            "--node-delete-delay-after-taint=1s",
        ])
        .api_server_through(testbed, &proxy)?
        .start(testbed, "windlass")?;
    // A node is drained, and another comes for a pod that it would have had room for.
    wait_for("the group to shrink to its minimum", SHRUNK, || {
        Ok(testbed.aws().group("web")?.instances.len() == 1)
    })?;
    cluster.wait_until_all_run("default", "web", 2, SOON)?;
    cluster.deploy(&Workload::new("late", 1).requests("1500m", "64Mi"))?;
    cluster.wait_until_all_run("default", "late", 1, SOON)?;
    windlass.check_for_panics()?;
    // An event is patched when it comes again, for which this gives no cause that is sure.
    let mut rights = rights_of(&granted);
    rights.remove("patch /events");
    check_rights(testbed, began, "cluster-autoscaler", &rights, &[])
}

/// The account of `windlass verify`: waves up and down under its rights, in its fence.
#[test]
fn the_rights_of_verify_are_enough_and_none_is_spare() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let began = Timestamp::now();
    let tool = Tool::of(testbed);
    let rendered = apply_component(testbed, &tool, "verify")?;
    let kubeconfig = service_account_kubeconfig(testbed, "windlass-verify")?;
    let tool = tool.kubeconfig(&kubeconfig);
    let group = Group::new("web").sizes(1, 4, 1).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    testbed.cluster().wait_for_ready_nodes(1, SOON)?;
    let _windlass = Run::of_cluster("demo")
        .flags([
            "--scan-interval=5s",
            "--scale-down-unneeded-time=5s",
            "--scale-down-delay-after-add=5s",
            "--node-delete-delay-after-taint=1s",
        ])
        .start(testbed, "windlass")?;
    // From the group's being found on.
    let verify = [
        "verify",
        "--churn=2,1,0",
        "--timeout=90s",
        "--scale-down-timeout=3m",
    ];
    let run = wait_for("a run that nothing stands in the way of", SOON, || {
        let run = tool.run(&[&verify[..], &["-o", "json"]].concat())?;
        Ok((run.code != Some(3)).then_some(run))
    })?;
    let report: Value = serde_json::from_str(&run.expect(0)?.stdout)?;
    let waves: Vec<u64> = report["waves"]
        .as_array()
        .context("waves")?
        .iter()
        .filter_map(|wave| wave["nodes"].as_u64())
        .collect();
    ensure!(waves == [2, 1, 0], "{report:#}");
    // The fence: the same rights in another namespace are of no use.
    let elsewhere = tool.run(&["verify", "--namespace=elsewhere"])?;
    let elsewhere = elsewhere.expect(3)?;
    ensure!(
        elsewhere.stderr.contains("not allowed"),
        "{}",
        elsewhere.stderr
    );
    let rights = rights_of(&rendered);
    check_rights(testbed, began, "windlass-verify", &rights, &[])?;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": { "name": "theirs", "namespace": "default" }, "spec": { "hard": {} },
    });
    let fenced = windlass_e2e::client_as(testbed, &user_of(&kubeconfig)?)?;
    let quotas = Api::<DynamicObject>::namespaced_with(
        fenced,
        "default",
        &ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ResourceQuota")),
    );
    let quota: DynamicObject = serde_json::from_value(quota)?;
    let Err(refused) = testbed.run(quotas.create(&PostParams::default(), &quota)) else {
        bail!("the fence let a write into `default` through");
    };
    let words = refused.to_string();
    ensure!(
        words.contains("in its namespace windlass-verify alone"),
        "{words}"
    );
    Ok(())
}

/// The user's entry of a kubeconfig.
fn user_of(kubeconfig: &Path) -> Result<Value> {
    let kubeconfig: Value = serde_json::from_str(&std::fs::read_to_string(kubeconfig)?)?;
    Ok(kubeconfig["users"][0]["user"].clone())
}

/// The pods of every part in a namespace that enforces Pod Security `restricted`: those that are not
/// on the host's network pass, and the others are let through by `privileged` alone.
#[test]
fn pods_pass_pod_security_restricted_unless_they_are_on_the_hosts_network() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": "restricted",
            "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
        },
    });
    testbed.cluster().apply_object(&namespace)?;
    testbed.cluster().apply_object(&json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "cluster-autoscaler", "namespace": "restricted" },
    }))?;
    let command = [
        "manifests",
        "--config",
        EXAMPLE,
        "-o",
        "json",
        "--component",
    ];
    let parts = ["autoscaler,token-rotator,csr-approver"];
    let mut judged = 0;
    for object in objects(&[&command[..], &parts[..]].concat())? {
        let template = &object["spec"]["template"];
        if !template.is_object() {
            continue;
        }
        let mut pod = template.clone();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["name"] = object["metadata"]["name"].clone();
        pod["metadata"]["namespace"] = json!("restricted");
        // Whose account it has is not what is judged here.
        pod["spec"]["serviceAccountName"] = json!("cluster-autoscaler");
        // Only pods of `kube-system` may have it.
        pod["spec"]["priorityClassName"] = Value::Null;
        let is_on_host = pod["spec"]["hostNetwork"] == true;
        let answer = testbed.cluster().check_object(&pod);
        match answer {
            Ok(()) => ensure!(!is_on_host, "{pod} passes"),
            Err(error) => {
                let words = format!("{error:#}");
                ensure!(is_on_host && words.contains("host namespaces"), "{words}");
            }
        }
        judged += 1;
    }
    ensure!(judged == 3, "{judged} pods");
    testbed.cluster().delete_object(&namespace)
}

/// Two nodes, of which one would be enough for the pod on each.
fn two_nodes_with_a_pod_each(testbed: &Testbed) -> Result<()> {
    let cluster = testbed.cluster();
    let group = Group::new("web").sizes(1, 4, 2).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    cluster.wait_for_ready_nodes(2, SOON)?;
    // Beside a filler there is room for one pod.
    cluster.deploy(&Workload::new("filler", 2).requests("1500m", "64Mi"))?;
    cluster.wait_until_all_run("default", "filler", 2, SOON)?;
    cluster.deploy(&Workload::new("web", 2).requests("300m", "64Mi"))?;
    cluster.wait_until_all_run("default", "web", 2, SOON)?;
    cluster.delete_deployment("default", "filler")
}
