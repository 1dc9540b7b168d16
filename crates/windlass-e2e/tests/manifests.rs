//! What `windlass manifests` renders: the real API server takes it with strict validation, and with
//! the rendered rights alone the how-to's test passes.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use kube::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;
use windlass_e2e::{Run, prepare_for_joins};
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
    ensure!(rendered.len() >= 17, "{} objects", rendered.len());
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

/// Up and down again with the rendered roles in place of the superset of the Go autoscaler's chart:
/// nothing is refused, and no verb was granted that was not used. The API server streams no lists,
/// as those before Kubernetes 1.34 do not, so that the right to list is needed too.
#[test]
fn the_rendered_rights_are_enough_and_none_is_spare() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let cluster = testbed.cluster();
    let mut granted = BTreeSet::new();
    for object in objects(&["manifests", "--config", EXAMPLE, "-o", "json"])? {
        let kind = object["kind"].as_str().unwrap_or_default();
        let is_role = kind.starts_with("ClusterRole") || kind.starts_with("Role");
        if is_role && object["metadata"]["name"] == "cluster-autoscaler" {
            cluster.apply_object(&object)?;
            granted.extend(rights_of(&object));
        }
    }
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

    let requests = proxy.requests();
    let refused: Vec<String> = requests
        .iter()
        .filter(|request| request.answer.is_some_and(|(status, _)| status == 403))
        .map(|request| format!("{} {}", request.method, request.path))
        .collect();
    ensure!(refused.is_empty(), "refused: {refused:#?}");
    let used: BTreeSet<String> = requests
        .iter()
        .filter_map(|request| right_used(&request.method, &request.path))
        .collect();
    // An event is patched when it comes again, which this run may not have given cause for.
    granted.remove("patch /events");
    let spare: Vec<&String> = granted.difference(&used).collect();
    ensure!(
        spare.is_empty(),
        "granted and not used: {spare:#?}; used: {used:#?}"
    );
    Ok(())
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

/// The rights of a role, each as `verb group/resource`.
fn rights_of(role: &Value) -> Vec<String> {
    let words = |rule: &Value, field: &str| -> Vec<String> {
        let words = rule[field].as_array().into_iter().flatten();
        words.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in words(rule, "apiGroups") {
            for resource in words(rule, "resources") {
                for verb in words(rule, "verbs") {
                    rights.push(format!("{verb} {group}/{resource}"));
                }
            }
        }
    }
    rights
}

/// The right that a request needs, in the same form; none for what everybody may.
fn right_used(method: &str, path: &str) -> Option<String> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let words: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, mut rest) = match words.as_slice() {
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => return None,
    };
    // A namespace's own objects, and not the namespace itself.
    if let ["namespaces", _, inner @ ..] = rest
        && !inner.is_empty()
    {
        rest = inner;
    }
    let (resource, is_named) = match rest {
        [resource] => ((*resource).to_owned(), false),
        [resource, _] => ((*resource).to_owned(), true),
        [resource, _, subresource] => (format!("{resource}/{subresource}"), true),
        _ => return None,
    };
    let verb = match (method, is_named) {
        ("GET", true) => "get",
        ("GET", false) if query.contains("watch=") => "watch",
        ("GET", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        _ => return None,
    };
    Some(format!("{verb} {group}/{resource}"))
}
