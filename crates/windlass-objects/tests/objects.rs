//! The rules of reading objects, each on the smallest object that shows it.

use std::fmt::Write as _;

use serde_json::{Value, json};
use windlass_model::{
    Claim, PodScheduled, Resources, SchedulerVersion, VolumeSource, WorkloadKind,
};
use windlass_objects::{Converter, Origin, api, decode, read_documents};

fn converter(origin: Origin) -> Converter {
    Converter::new(SchedulerVersion::V1_37, origin)
}

fn pod(origin: Origin, value: Value) -> windlass_model::Pod {
    converter(origin).pod(&decode(value).expect("the test's pod is well-formed"))
}

fn requests(spec: &Value) -> Resources {
    let pod = pod(
        Origin::AsGiven,
        json!({"metadata": {"name": "web"}, "spec": spec}),
    );
    pod.shape.requests.clone()
}

fn cpu(amount: &str) -> Value {
    json!({"requests": {"cpu": amount}})
}

#[test]
fn a_sidecar_counts_for_the_app_and_for_later_init_containers() {
    let sum = requests(&json!({
        "containers": [{"resources": cpu("100m")}],
        "initContainers": [
            {"resources": cpu("1")},
            {"resources": cpu("200m"), "restartPolicy": "Always"},
            {"resources": cpu("900m")},
        ],
    }));
    assert_eq!(sum.milli_cpu, 1100);
}

#[test]
fn containers_are_summed_before_they_are_rounded() {
    let half = json!({"resources": cpu("500u")});
    assert_eq!(requests(&json!({"containers": [half, half]})).milli_cpu, 1);
}

#[test]
fn pod_level_requests_replace_and_overhead_comes_on_top() {
    let sum = requests(&json!({
        "containers": [{"resources": {"requests": {"cpu": "4", "memory": "1Gi"}}}],
        "resources": {"requests": {"cpu": "1", "nvidia.com/gpu": "3"}},
        "overhead": {"cpu": "50m", "ephemeral-storage": "1Gi"},
    }));
    assert_eq!(sum.milli_cpu, 1050);
    assert_eq!(sum.memory_bytes, 1 << 30);
    assert_eq!(sum.ephemeral_storage_bytes, 1 << 30);
    assert_eq!(sum.scalars, []);
}

#[test]
fn requests_come_from_limits_in_a_scenario_only() {
    let value = json!({"spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu": 1}}}]}});
    let defaulted = pod(Origin::Scenario, value.clone());
    assert_eq!(defaulted.shape.requests.scalar("nvidia.com/gpu"), Some(1));
    let given = pod(Origin::AsGiven, value);
    assert_eq!(given.shape.requests.scalar("nvidia.com/gpu"), None);
}

#[test]
fn pod_level_requests_are_filled_from_containers_and_then_from_limits() {
    let value = json!({"spec": {
        "containers": [{"resources": cpu("300m")}],
        "resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
    }});
    let sum = pod(Origin::Scenario, value).shape.requests.clone();
    assert_eq!((sum.milli_cpu, sum.memory_bytes), (300, 1 << 30));
}

fn resized(version: SchedulerVersion, infeasible: bool) -> i64 {
    let reason = if infeasible { "Infeasible" } else { "Deferred" };
    let value = json!({
        "metadata": {"name": "web"},
        "spec": {
            "nodeName": "n1",
            "containers": [
                {"name": "a", "resources": cpu("500m")},
                {"name": "b", "resources": cpu("100m")},
            ],
        },
        "status": {
            "conditions": [{"type": "PodResizePending", "reason": reason}],
            "containerStatuses": [
                {"name": "a", "allocatedResources": {"cpu": "200m"}, "resources": cpu("300m")},
                {"name": "b", "allocatedResources": {"cpu": "400m"}, "resources": cpu("350m")},
            ],
        },
    });
    let mut converter = Converter::new(version, Origin::AsGiven);
    let pod = converter.pod(&decode(value).expect("the test's pod is well-formed"));
    assert_eq!(pod.shape.requests.milli_cpu, 600);
    pod.requests_on_node().milli_cpu
}

#[test]
fn a_resize_counts_by_container_in_1_36_and_by_sum_in_1_37() {
    assert_eq!(resized(SchedulerVersion::V1_36, false), 900);
    assert_eq!(resized(SchedulerVersion::V1_36, true), 700);
    assert_eq!(resized(SchedulerVersion::V1_37, false), 650);
    assert_eq!(resized(SchedulerVersion::V1_37, true), 650);
}

#[test]
fn a_pod_of_a_scenario_gets_a_namespace_and_uids() {
    let value = json!({"metadata": {
        "name": "web-0",
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "controller": true}],
    }});
    let mut converter = converter(Origin::Scenario);
    let pod = converter.pod(&decode(value).unwrap());
    let owner: api::Workload = decode(json!({"metadata": {"name": "web"}})).unwrap();
    let owner = converter.workload(WorkloadKind::ReplicaSet, &owner);
    assert_eq!(pod.full_name().to_string(), "default/web-0");
    assert_ne!(pod.uid, "");
    assert_eq!(pod.shape.controller.as_ref().unwrap().uid, owner.uid);
}

#[test]
fn the_scheduled_condition_is_told_apart() {
    for (condition, expected) in [
        (json!([]), PodScheduled::Absent),
        (
            json!([{"type": "PodScheduled", "status": "True"}]),
            PodScheduled::Scheduled,
        ),
        (
            json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]),
            PodScheduled::Unschedulable { since: None },
        ),
        (
            json!([{"type": "PodScheduled", "status": "False"}]),
            PodScheduled::NoReason,
        ),
        (
            json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]),
            PodScheduled::Other,
        ),
    ] {
        let value = json!({"status": {"conditions": condition}});
        assert_eq!(pod(Origin::ApiServer, value).scheduled, expected);
    }
}

#[test]
fn equal_pods_share_their_shape_whatever_their_environment() {
    let value = |name: &str, image: &str, value: &str, token: &str| {
        let value = json!({
            "metadata": {"name": name},
            "spec": {
                "hostname": name,
                "containers": [{
                    "name": "c", "image": image,
                    "env": [{"name": "A", "value": value}],
                    "volumeMounts": [{"name": token, "mountPath": "/var/run"}],
                }],
                "volumes": [{"name": token, "projected": {"sources": []}}],
            },
        });
        decode::<api::Pod>(value).unwrap()
    };
    let mut converter = converter(Origin::Scenario);
    let a = converter.pod(&value("a", "web:1", "x", "token-a"));
    let b = converter.pod(&value("b", "web:1", "y", "token-b"));
    let other_image = converter.pod(&value("c", "web:2", "x", "token-c"));
    assert!(std::sync::Arc::ptr_eq(&a.shape, &b.shape));
    assert_ne!(a.shape.spec_digest, other_image.shape.spec_digest);
    assert!(std::sync::Arc::ptr_eq(
        &a.shape.constraints,
        &other_image.shape.constraints
    ));
}

#[test]
fn label_keys_are_merged_once_into_an_affinity_term() {
    let value = json!({
        "metadata": {"name": "web", "labels": {"app": "web", "hash": "1"}},
        "spec": {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
            "labelSelector": {"matchExpressions": [{"key": "hash", "operator": "In", "values": ["1"]}]},
            "topologyKey": "zone",
            "matchLabelKeys": ["hash", "absent"],
            "mismatchLabelKeys": ["app"],
        }]}}},
    });
    let count = |origin| {
        let pod = pod(origin, value.clone());
        let selector = pod.shape.constraints.affinity[0].selector.clone();
        selector.unwrap().requirements.len()
    };
    assert_eq!(count(Origin::Scenario), 2);
    assert_eq!(count(Origin::AsGiven), 1);
}

#[test]
fn claims_of_templates_go_by_the_status() {
    let value = json!({
        "spec": {"resourceClaims": [
            {"name": "own", "resourceClaimName": "gpu"},
            {"name": "made", "resourceClaimTemplateName": "t"},
            {"name": "unneeded", "resourceClaimTemplateName": "t"},
            {"name": "missing", "resourceClaimTemplateName": "t"},
        ]},
        "status": {"resourceClaimStatuses": [
            {"name": "made", "resourceClaimName": "web-made-x"},
            {"name": "unneeded"},
        ]},
    });
    let named = |name: &str, from_template| Claim::Named {
        name: name.into(),
        from_template,
    };
    assert_eq!(
        pod(Origin::ApiServer, value).shape.constraints.claims,
        [
            named("gpu", false),
            named("web-made-x", true),
            Claim::NotNeeded,
            Claim::NotCreatedYet,
        ]
    );
}

#[test]
fn volumes_that_bear_on_nothing_are_left_out() {
    let value = json!({"spec": {"volumes": [
        {"name": "config", "configMap": {"name": "web"}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "web"}},
        {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {"name": "disk", "awsElasticBlockStore": {"volumeID": "vol-1"}},
    ]}});
    let pod = pod(Origin::ApiServer, value);
    let volumes = &pod.shape.constraints.volumes;
    assert_eq!(volumes.len(), 3);
    assert_eq!(
        volumes[1].source,
        VolumeSource::EmptyDir { in_memory: true }
    );
    assert!(matches!(&volumes[2].source, VolumeSource::Inline(disk) if disk.handle == "vol-1"));
}

#[test]
fn a_daemonset_template_tolerates_cordoned_nodes() {
    let value = json!({
        "metadata": {"name": "agent"},
        "spec": {"template": {"spec": {"containers": []}}},
    });
    let daemonset =
        converter(Origin::ApiServer).workload(WorkloadKind::DaemonSet, &decode(value).unwrap());
    let template = daemonset.template.unwrap();
    let tolerations = &template.shape.constraints.tolerations;
    assert_eq!(tolerations.len(), 6);
    assert!(
        tolerations
            .iter()
            .any(|t| t.key == "node.kubernetes.io/unschedulable")
    );
    assert!(template.shape.is_daemonset_pod());
}

#[test]
fn host_ports_of_sidecars_count_and_of_init_containers_do_not() {
    let port = |number: i32| json!([{"containerPort": 80, "hostPort": number}]);
    let value = json!({"spec": {
        "containers": [{"ports": port(8080)}],
        "initContainers": [
            {"ports": port(1)},
            {"ports": port(9090), "restartPolicy": "Always"},
        ],
    }});
    let pod = pod(Origin::AsGiven, value);
    let ports = &pod.shape.constraints.host_ports;
    assert_eq!(
        ports.iter().map(|p| p.port).collect::<Vec<_>>(),
        [9090, 8080]
    );
    assert_eq!(
        (ports[0].ip.as_str(), ports[0].protocol.as_str()),
        ("0.0.0.0", "TCP")
    );
}

#[test]
fn an_error_names_file_document_object_and_field() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n# nothing\n---\n\
        apiVersion: v1\nkind: Pod\nmetadata: {name: web-7, namespace: shop}\n\
        spec: {containers: [{resources: {requests: {cpu: 1x}}}]}\n";
    let documents = read_documents("cluster.yaml", text).unwrap();
    let error = documents[1].read::<api::Pod>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "cluster.yaml: document 2 (Pod shop/web-7): spec.containers[0].resources.requests.cpu: \
         \"1x\" is not a quantity: use a plain number or a suffix such as `m`, `Ki`, `Mi`, `Gi`"
    );
}

#[test]
fn a_syntax_error_names_the_line_of_the_file() {
    let text = "kind: Namespace\n---\nkind: Pod\nspec: [\n---\nkind: Pod\n";
    let error = read_documents("cluster.yaml", text)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("cluster.yaml: document 2 is not valid YAML: line "),
        "{error}"
    );
}

#[test]
fn lists_streams_of_json_and_nulls_are_read() {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"kind": "Node", "metadata": {"name": "a"}, "spec": null},
        {"kind": "Node", "metadata": {"name": "b"}},
    ]});
    let text = format!("{list}\n{{\"kind\": \"Node\"}}");
    let documents = read_documents("-", &text).unwrap();
    let numbers: Vec<_> = documents.iter().map(|document| document.number).collect();
    assert_eq!(numbers, [1, 1, 2]);
    assert!(documents[0].read::<api::Node>().is_ok());
    let flow = read_documents("-", "{kind: Node, metadata: {name: c}}").unwrap();
    assert_eq!(flow[0].identity().to_string(), "Node c");
}

#[test]
fn many_documents_keep_their_order_and_their_lines() {
    let mut text = String::new();
    for number in 0..2000 {
        writeln!(text, "---\nkind: Node\nmetadata: {{name: n{number}}}").unwrap();
    }
    let documents = read_documents("cluster.yaml", &text).unwrap();
    let names = documents.iter().map(|document| document.identity().name);
    let expected: Vec<String> = (0..2000).map(|number| format!("n{number}")).collect();
    assert_eq!(names.collect::<Vec<_>>(), expected);
    let broken = text + "---\nkind: [\n";
    let error = read_documents("cluster.yaml", &broken)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("cluster.yaml: document 2001 "), "{error}");
}

#[test]
fn a_document_that_is_no_object_is_refused() {
    assert!(read_documents("-", "just text").is_err());
    assert!(read_documents("-", "").unwrap().is_empty());
    assert!(
        read_documents("-", "---\n...\n---\n# note\n")
            .unwrap()
            .is_empty()
    );
}
