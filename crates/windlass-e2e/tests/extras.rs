//! The optional features on a real API server, with their definitions installed.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use jiff::Timestamp;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams};
use serde_json::{Value, json};
use windlass_e2e::{Run, Windlass, check_rights, rights_of};
use windlass_provision::manifests;
use windlass_testbed::{Boot, Group, Testbed, Workload, wait_for};

const SOON: Duration = Duration::from_mins(1);
const DEFINITIONS: [&str; 3] = [
    include_str!("../../../deploy/crds/provisioningrequests.yaml"),
    include_str!("../../../deploy/crds/capacitybuffers.yaml"),
    include_str!("../../../deploy/crds/capacityquotas.yaml"),
];
const CHECK: &str = "check-capacity.autoscaling.x-k8s.io";
const ATOMIC: &str = "best-effort-atomic-scale-up.autoscaling.x-k8s.io";

/// The test bed with the definitions, and a group of one node of two cores.
fn testbed() -> Result<&'static Testbed> {
    let testbed = windlass_e2e::testbed()?;
    let cluster = testbed.cluster();
    for definition in DEFINITIONS {
        cluster.apply(definition)?;
    }
    for kind in ["ProvisioningRequest", "CapacityBuffer", "CapacityQuota"] {
        // A definition is served a moment after it has been accepted.
        wait_for("the definitions to be served", SOON, || {
            Ok(cluster
                .run(api(testbed, kind, "default").list(&ListParams::default()))
                .is_ok())
        })?;
    }
    let left = cluster.run(api(testbed, "CapacityQuota", "").list(&ListParams::default()))?;
    for quota in left {
        let name = quota.metadata.name.unwrap_or_default();
        cluster.run(api(testbed, "CapacityQuota", "").delete(&name, &DeleteParams::default()))?;
    }
    let group = Group::new("web").sizes(1, 10, 1).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    cluster.wait_for_ready_nodes(1, SOON)?;
    Ok(testbed)
}

fn api(testbed: &Testbed, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let version = if kind == "ProvisioningRequest" {
        "v1"
    } else {
        "v1beta1"
    };
    let kind = GroupVersionKind::gvk("autoscaling.x-k8s.io", version, kind);
    let resource = ApiResource::from_gvk(&kind);
    let client = testbed.cluster().client();
    if kind.kind == "CapacityQuota" {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, namespace, &resource)
    }
}

fn status(testbed: &Testbed, kind: &str, namespace: &str, name: &str) -> Result<Value> {
    let api = api(testbed, kind, namespace);
    let object = testbed.cluster().run(api.get(name))?;
    Ok(object.data["status"].clone())
}

/// A condition's status and reason.
fn condition(status: &Value, kind: &str) -> Option<(String, String)> {
    let list = status["conditions"].as_array()?;
    let condition = list.iter().find(|condition| condition["type"] == kind)?;
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason")))
}

fn wait_for_condition(
    testbed: &Testbed,
    (kind, namespace, name): (&str, &str, &str),
    expected: (&str, &str, &str),
) -> Result<()> {
    let (condition_kind, condition_status, reason) = expected;
    let what = format!("{kind} {name}: {condition_kind}={condition_status} ({reason})");
    wait_for(&what, SOON, || {
        let status = status(testbed, kind, namespace, name)?;
        let found = condition(&status, condition_kind);
        Ok(found == Some((condition_status.to_owned(), reason.to_owned())))
    })
}

fn start(testbed: &'static Testbed, flags: &[&str]) -> Result<Windlass> {
    let windlass = Run::of_cluster("demo")
        .flags(flags.iter().copied())
        .flag("--scale-down-enabled=false")
        .start(testbed, "windlass")?;
    windlass.wait_for_log("the first view is complete", SOON)?;
    Ok(windlass)
}

/// What a feature's flags add to the rights is used, by the API server's audit log. Where lists are
/// streamed nobody lists.
fn nothing_is_spare(
    testbed: &Testbed,
    began: Timestamp,
    flags: &[&str],
    excepted: &[&str],
) -> Result<()> {
    let rights = |flags: &[&str]| -> Result<BTreeSet<String>> {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let rendered = manifests::rights_of_run("cluster-autoscaler", "it", &flags);
        let rendered = rendered.map_err(|errors| anyhow!("{errors:?}"))?;
        let objects: Vec<Value> = rendered.into_iter().map(|it| it.object).collect();
        Ok(rights_of(&objects))
    };
    let without = rights(&[])?;
    let mut added = rights(flags)?;
    added.retain(|right| !without.contains(right) && !right.starts_with("list "));
    ensure!(!added.is_empty(), "{flags:?} ask for nothing");
    check_rights(testbed, began, "cluster-autoscaler", &added, excepted)
}

fn in_namespace(testbed: &Testbed, namespace: &str) -> Result<()> {
    testbed.cluster().apply_object(&json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace},
    }))
}

/// A template of pods of a core each.
fn template(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PodTemplate",
        "metadata": {"name": "worker", "namespace": namespace},
        "template": {"spec": {"containers": [{
            "name": "main", "image": "registry.invalid/pause",
            "resources": {"requests": {"cpu": "1", "memory": "64Mi"}},
        }]}},
    })
}

fn request(namespace: &str, name: &str, class: &str, count: u32) -> Value {
    json!({
        "apiVersion": "autoscaling.x-k8s.io/v1", "kind": "ProvisioningRequest",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "provisioningClassName": class,
            "podSets": [{"count": count, "podTemplateRef": {"name": "worker"}}],
        },
    })
}

#[test]
fn a_request_is_answered_and_an_atomic_one_brings_nodes() -> Result<()> {
    let began = Timestamp::now();
    let testbed = testbed()?;
    let cluster = testbed.cluster();
    let windlass = start(testbed, &["--enable-provisioning-requests"])?;
    let namespace = "requests";
    in_namespace(testbed, namespace)?;
    cluster.apply_object(&template(namespace))?;

    cluster.apply_object(&request(namespace, "fits", CHECK, 1))?;
    let fits = ("ProvisioningRequest", namespace, "fits");
    wait_for_condition(testbed, fits, ("Accepted", "True", "Accepted"))?;
    wait_for_condition(testbed, fits, ("Provisioned", "True", "CapacityIsFound"))?;

    cluster.apply_object(&request(namespace, "too-big", CHECK, 9))?;
    let too_big = ("ProvisioningRequest", namespace, "too-big");
    wait_for_condition(
        testbed,
        too_big,
        ("Provisioned", "False", "CapacityIsNotFound"),
    )?;
    ensure!(
        testbed.aws().group("web")?.desired == 1,
        "a check brings no node"
    );

    cluster.apply_object(&request(namespace, "atomic", ATOMIC, 5))?;
    let atomic = ("ProvisioningRequest", namespace, "atomic");
    wait_for_condition(
        testbed,
        atomic,
        ("Provisioned", "True", "CapacityIsProvisioned"),
    )?;
    let desired = testbed.aws().group("web")?.desired;
    ensure!(desired > 1, "no node was asked for: {desired}");

    let without_template = {
        let mut request = request(namespace, "broken", CHECK, 1);
        request["spec"]["podSets"][0]["podTemplateRef"]["name"] = json!("nothing");
        request
    };
    cluster.apply_object(&without_template)?;
    let broken = ("ProvisioningRequest", namespace, "broken");
    wait_for_condition(testbed, broken, ("Failed", "True", "FailedToCreatePods"))?;
    windlass.check_for_panics()?;
    nothing_is_spare(
        testbed,
        began,
        &["--enable-provisioning-requests"],
        &["delete autoscaling.x-k8s.io/provisioningrequests"],
    )
}

#[test]
fn a_missing_definition_is_told_and_stops_nothing() -> Result<()> {
    let testbed = testbed()?;
    let cluster = testbed.cluster();
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "provisioningrequests.autoscaling.x-k8s.io"},
    });
    cluster.delete_object(&definition)?;
    wait_for("the definition to go", SOON, || {
        let api = api(testbed, "ProvisioningRequest", "default");
        Ok(cluster.run(api.list(&ListParams::default())).is_err())
    })?;
    let windlass = start(testbed, &["--enable-provisioning-requests"])?;
    windlass.wait_for_log("--enable-provisioning-requests does nothing until", SOON)?;
    cluster.deploy(&Workload::new("web", 4).requests("1", "64Mi"))?;
    cluster.wait_until_all_run("default", "web", 4, SOON)?;
    windlass.check_for_panics()
}

fn buffer(namespace: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "autoscaling.x-k8s.io/v1beta1", "kind": "CapacityBuffer",
        "metadata": {"name": "spare", "namespace": namespace}, "spec": spec,
    })
}

#[test]
fn a_buffer_brings_nodes_and_follows_its_deployment() -> Result<()> {
    let testbed = testbed()?;
    let cluster = testbed.cluster();
    let windlass = start(
        testbed,
        &[
            "--capacity-buffer-controller-enabled",
            "--capacity-buffer-pod-injection-enabled",
        ],
    )?;
    let namespace = "buffers";
    in_namespace(testbed, namespace)?;
    let mut web = Workload::new("web", 1).requests("1", "64Mi");
    namespace.clone_into(&mut web.namespace);
    cluster.deploy(&web)?;
    cluster.wait_until_all_run(namespace, "web", 1, SOON)?;
    let of_deployment = json!({
        "scalableRef": {"apiGroup": "apps", "kind": "Deployment", "name": "web"},
        "percentage": 300,
    });
    cluster.apply_object(&buffer(namespace, &of_deployment))?;
    let spare = ("CapacityBuffer", namespace, "spare");
    wait_for_condition(
        testbed,
        spare,
        ("ReadyForProvisioning", "True", "AttributesSetSuccessfully"),
    )?;
    wait_for_condition(testbed, spare, ("Provisioning", "True", "FakePodsInjected"))?;
    let status = status(testbed, "CapacityBuffer", namespace, "spare")?;
    ensure!(
        status["replicas"] == 3,
        "three pods are 300 % of one: {status}"
    );
    ensure!(
        status["podTemplateRef"]["name"] == "capacitybuffer-spare-pod-template",
        "{status}"
    );
    // One pod runs and three are kept room for: at a core each two nodes are needed at least.
    wait_for("nodes for the buffer", SOON, || {
        Ok(testbed.aws().group("web")?.desired >= 2)
    })?;
    wait_for("an event on the buffer", SOON, || {
        let events = cluster.events(namespace)?;
        Ok(events.iter().any(|event| {
            event.involved_object.kind.as_deref() == Some("CapacityBuffer")
                && event.reason.as_deref() == Some("TriggeredScaleUp")
        }))
    })?;
    let metric = "cluster_autoscaler_capacity_buffer_oldest_reconciliation_timestamp_seconds";
    let oldest = |is_new: bool| windlass.sample(&format!("{metric}{{new_buffer=\"{is_new}\"}}"));
    // No new buffer waits, so that both are of the last loop.
    let began = jiff::Timestamp::now().as_second() as f64 - SOON.as_secs_f64();
    ensure!(began < oldest(false)? && began < oldest(true)?);
    let wrong = json!({"podTemplateRef": {"name": "nothing"}, "replicas": 1});
    cluster.delete_object(&buffer(namespace, &of_deployment))?;
    cluster.apply_object(&buffer(namespace, &wrong))?;
    wait_for_condition(testbed, spare, ("ReadyForProvisioning", "False", "error"))?;
    windlass.check_for_panics()
}

#[test]
fn a_buffer_s_template_is_completed_by_a_dry_run() -> Result<()> {
    let began = Timestamp::now();
    let testbed = testbed()?;
    let cluster = testbed.cluster();
    let windlass = start(testbed, &["--capacity-buffer-controller-enabled"])?;
    let namespace = "dry-run";
    in_namespace(testbed, namespace)?;
    cluster.apply_object(&template(namespace))?;
    let spec = json!({"podTemplateRef": {"name": "worker"}, "replicas": 2});
    cluster.apply_object(&buffer(namespace, &spec))?;
    let spare = ("CapacityBuffer", namespace, "spare");
    wait_for_condition(
        testbed,
        spare,
        ("ReadyForProvisioning", "True", "AttributesSetSuccessfully"),
    )?;
    let templates = cluster.api::<k8s_openapi::api::core::v1::PodTemplate>(namespace);
    let managed = cluster.run(templates.get("capacitybuffer-spare-pod-template"))?;
    let spec = managed.template.and_then(|template| template.spec);
    let spec = spec.context("the template has a specification")?;
    // What admission has added, and a template alone has not.
    ensure!(
        spec.service_account_name.as_deref() == Some("default"),
        "{spec:?}"
    );
    ensure!(
        testbed.aws().group("web")?.desired == 1,
        "nothing is injected"
    );
    windlass.check_for_panics()?;
    nothing_is_spare(
        testbed,
        began,
        &["--capacity-buffer-controller-enabled"],
        &[
            // A template whose source changes is another test's.
            "update /podtemplates",
            "get /pods",
            "get /replicationcontrollers",
            "get apps/daemonsets",
            "get apps/deployments",
            "get apps/replicasets",
            "get apps/statefulsets",
            "get batch/jobs",
        ],
    )
}

#[test]
fn a_quota_stops_a_group_and_tells_what_is_used() -> Result<()> {
    let began = Timestamp::now();
    let testbed = testbed()?;
    let cluster = testbed.cluster();
    cluster.apply_object(&json!({
        "apiVersion": "autoscaling.x-k8s.io/v1beta1", "kind": "CapacityQuota",
        "metadata": {"name": "small"}, "spec": {"limits": {"resources": {"nodes": "2"}}},
    }))?;
    let windlass = start(testbed, &["--capacity-quotas-enabled"])?;
    let valid = "cluster-autoscaler.kubernetes.io/valid";
    let small = ("CapacityQuota", "", "small");
    wait_for_condition(testbed, small, (valid, "True", "ValidationSucceeded"))?;
    cluster.deploy(&Workload::new("web", 12).requests("1", "64Mi"))?;
    wait_for("the quota to be used up", SOON, || {
        let status = status(testbed, "CapacityQuota", "", "small")?;
        Ok(status["used"]["resources"]["nodes"] == "2")
    })?;
    wait_for("a pod to be told why it waits", SOON, || {
        let events = cluster.events("default")?;
        Ok(events.iter().any(|event| {
            let message = event.message.as_deref().unwrap_or_default();
            message.contains("exceeded quota: \"CapacityQuota/small\"")
        }))
    })?;
    ensure!(
        testbed.aws().group("web")?.desired == 2,
        "the quota allows two nodes"
    );
    windlass.check_for_panics()?;
    nothing_is_spare(testbed, began, &["--capacity-quotas-enabled"], &[])
}

#[test]
fn pods_that_a_controller_is_yet_to_make_bring_nodes() -> Result<()> {
    let testbed = testbed()?;
    let cluster = testbed.cluster();
    let namespace = "to-come";
    in_namespace(testbed, namespace)?;
    // What keeps the controller from making the pods, so that none of them is pending.
    cluster.apply_object(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "one", "namespace": namespace},
        "spec": {"hard": {"pods": "1"}},
    }))?;
    let windlass = start(testbed, &["--enable-proactive-scaleup"])?;
    let mut web = Workload::new("web", 4).requests("1500m", "64Mi");
    namespace.clone_into(&mut web.namespace);
    cluster.deploy(&web)?;
    // One runs; each of the three others needs a node to itself.
    wait_for("nodes for pods to come", SOON, || {
        Ok(testbed.aws().group("web")?.desired == 4)
    })?;
    ensure!(cluster.pods(namespace)?.len() == 1, "the quota has one pod");
    let injected = "cluster_autoscaler_unschedulable_pods_count{type=\"injected\"}";
    ensure!(3.0 <= windlass.sample(injected)?);
    windlass.check_for_panics()
}

/// A volume of EBS, and the pod that mounts it.
fn pod_with_volume(number: u32) -> String {
    format!(
        r#"
apiVersion: v1
kind: PersistentVolume
metadata: {{name: data-{number}}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: ""
  claimRef: {{namespace: volumes, name: data-{number}}}
  csi: {{driver: ebs.csi.aws.com, volumeHandle: vol-{number}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: data-{number}, namespace: volumes}}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: ""
  volumeName: data-{number}
  resources: {{requests: {{storage: 1Gi}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: db-{number}, namespace: volumes}}
spec:
  containers:
  - {{name: main, image: none, resources: {{requests: {{cpu: 10m}}}}}}
  volumes:
  - {{name: data, persistentVolumeClaim: {{claimName: data-{number}}}}}
"#
    )
}

#[test]
fn new_nodes_hold_as_many_volumes_as_those_that_are_there() -> Result<()> {
    let testbed = testbed()?;
    let cluster = testbed.cluster();
    in_namespace(testbed, "volumes")?;
    let node = cluster.nodes()?.remove(0).metadata.name;
    let csi_node = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "CSINode",
        "metadata": {"name": node.context("a node has a name")?},
        "spec": {"drivers": [{
            "name": "ebs.csi.aws.com", "nodeID": "it", "topologyKeys": [],
            "allocatable": {"count": 1},
        }]},
    });
    cluster.apply_object(&csi_node)?;
    // The new nodes do not come, so that the pods go on waiting.
    testbed.joiner().set_boot("web", Boot::never());
    let windlass = start(testbed, &["--enable-csi-node-aware-scheduling"])?;
    for number in 0..3 {
        cluster.apply(&pod_with_volume(number))?;
    }
    // One pod runs. Of the others, who ask for next to no CPU, each needs a node for its volume.
    wait_for("a node for each volume", SOON, || {
        Ok(testbed.aws().group("web")?.desired == 3)
    })?;
    cluster.delete_object(&csi_node)?;
    windlass.check_for_panics()
}
