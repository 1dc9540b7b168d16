//! Scale-down on a real control plane: exactly the right nodes go, evictions go through the Eviction
//! API alone, disruption budgets hold at every moment, and who pauses it is heard at once.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use windlass_e2e::Run;
use windlass_testbed::proxy::{Act, Matcher};
use windlass_testbed::{Cluster, Group, Testbed, User, Workload, stays, wait_for};

const SOON: Duration = Duration::from_mins(2);
const DISCOVERY: &str = "--node-group-auto-discovery=asg:tag=k8s.io/cluster-autoscaler/enabled,\
                         k8s.io/cluster-autoscaler/demo";
const HARD_TAINT: &str = "ToBeDeletedByClusterAutoscaler";
const SOFT_TAINT: &str = "DeletionCandidateOfClusterAutoscaler";
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

fn name_of(node: &Node) -> String {
    node.metadata.name.clone().unwrap_or_default()
}

fn node_names(testbed: &Testbed) -> Result<BTreeSet<String>> {
    Ok(testbed.cluster().nodes()?.iter().map(name_of).collect())
}

fn is_clean(node: &Node) -> bool {
    let Some(spec) = &node.spec else { return true };
    let taints = spec.taints.iter().flatten();
    spec.unschedulable != Some(true) && taints.clone().all(|taint| taint.key != HARD_TAINT)
}

/// The names of so many nodes, once the scheduler may use each: a node that is ready is tainted for
/// a moment longer.
fn open_nodes(cluster: &Cluster, count: usize) -> Result<Vec<String>> {
    cluster.wait_for_ready_nodes(count, SOON)?;
    wait_for("nodes without taints", SOON, || {
        let nodes = cluster.nodes()?;
        let taints = nodes
            .iter()
            .filter_map(|node| node.spec.as_ref()?.taints.as_ref());
        let mut names: Vec<String> = nodes.iter().map(name_of).collect();
        names.sort_unstable();
        Ok((taints.flatten().next().is_none()).then_some(names))
    })
}

/// A spec for pods that would rather be on one node than on any other, and if not there, on one of
/// `refuges`.
fn rather_on(node: &str, refuges: &[String]) -> Value {
    let preference = |weight: u32, nodes: Value| {
        json!({"weight": weight, "preference": {"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": nodes},
        ]}})
    };
    let mut preferences = vec![preference(100, json!([node]))];
    if !refuges.is_empty() {
        preferences.push(preference(50, json!(refuges)));
    }
    json!({"affinity": {"nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": preferences,
    }}})
}

/// A Deployment of one pod that would rather be on that node.
fn app(name: &str, cpu: &str, node: &str) -> Workload {
    Workload::new(name, 1)
        .requests(cpu, "64Mi")
        .pod_spec(rather_on(node, &[]))
}

fn annotated(mut workload: Workload, key: &str, value: &str) -> Workload {
    workload
        .annotations
        .push((key.to_owned(), value.to_owned()));
    workload
}

fn with_scratch(mut workload: Workload) -> Workload {
    workload.pod_spec["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
    workload
}

/// A pod that nobody makes again, bound to a node by hand.
fn bare_pod(name: &str, node: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "registry.invalid/pause",
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}],
        },
    })
}

fn budget(namespace: &str, name: &str, rule: &Value, apps: &[&str]) -> Value {
    let mut spec = rule.clone();
    spec["selector"] = json!({"matchExpressions": [
        {"key": "app", "operator": "In", "values": apps},
    ]});
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

/// Where each pod of the namespace runs.
fn places(cluster: &Cluster, namespace: &str) -> Result<BTreeMap<String, String>> {
    let place = |pod: Pod| {
        let node = pod.spec.and_then(|spec| spec.node_name).unwrap_or_default();
        (pod.metadata.name.unwrap_or_default(), node)
    };
    Ok(cluster.pods(namespace)?.into_iter().map(place).collect())
}

/// Fails unless the one pod of each app is on its node.
fn all_are_placed(cluster: &Cluster, apps: &[(Workload, String)]) -> Result<()> {
    for (app, node) in apps {
        cluster.wait_until_all_run(&app.namespace, &app.name, 1, SOON)?;
        let pods = cluster.pods_of(&app.namespace, &app.name)?;
        let place = pods[0]
            .spec
            .as_ref()
            .and_then(|spec| spec.node_name.clone());
        ensure!(
            place.as_ref() == Some(node),
            "{} is on {place:?}, not on {node}",
            app.name
        );
    }
    Ok(())
}

/// Looks at every disruption budget again and again until it is told to stop; an error says which
/// one did not hold.
fn watch_budgets(cluster: &Cluster, is_over: &AtomicBool) -> Result<usize> {
    let budgets: Api<PodDisruptionBudget> = Api::all(cluster.client());
    let pods: Api<Pod> = Api::all(cluster.client());
    let mut looks = 0;
    while !is_over.load(Ordering::Relaxed) {
        let all = cluster.run(budgets.list(&ListParams::default()))?;
        for budget in all {
            let name = budget.metadata.name.unwrap_or_default();
            let status = budget.status.unwrap_or_default();
            let healthy = status.current_healthy.unwrap_or_default();
            let promised = status.desired_healthy.unwrap_or_default();
            ensure!(
                promised <= healthy,
                "budget {name}: {healthy} healthy, {promised} promised"
            );
        }
        // The same by the pods themselves: two of the three always run.
        let selector = ListParams::default().labels("app in (web-a, web-b, web-c)");
        let web = cluster.run(pods.list(&selector))?;
        let is_ready = |pod: &&Pod| {
            let conditions = pod.status.iter().flat_map(|status| &status.conditions);
            pod.metadata.deletion_timestamp.is_none()
                && conditions
                    .flatten()
                    .any(|it| it.type_ == "Ready" && it.status == "True")
        };
        let ready = web.iter().filter(is_ready).count();
        ensure!(2 <= ready, "{ready} pods of web are ready, 2 are promised");
        looks += 1;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(looks)
}

/// Why a node stays, by the command line.
fn explain_node(testbed: &Testbed, node: &str) -> Result<Value> {
    let output = Command::new(windlass_e2e::binary()?)
        .args(["explain", "node", node, "-o", "json", "--kubeconfig"])
        .arg(testbed.kubeconfig(User::Admin))
        .args(["--", DISCOVERY])
        .envs(Testbed::aws_environment(&testbed.moto_url()))
        .output()
        .context("start windlass explain")?;
    let talk = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {talk}", output.status);
    serde_json::from_slice(&output.stdout).context("read the explanation")
}

/// What the autoscaler's account asked of the API server was evictions, and no other end of a pod
/// or a node.
fn only_evictions(testbed: &Testbed, since: Timestamp) -> Result<usize> {
    let records = testbed.audit(since)?;
    let ours = records
        .iter()
        .filter(|record| record.user == User::ClusterAutoscaler.name());
    let mut evictions = 0;
    for record in ours {
        let resource = record.resource.as_str();
        match (record.verb.as_str(), resource, record.subresource.as_str()) {
            ("create", "pods", "eviction") => {
                evictions += usize::from((200..300).contains(&record.code));
            }
            ("delete" | "deletecollection", "pods" | "nodes", _) | (_, "pods", _) => {
                bail!("{} of {resource} {}", record.verb, record.name)
            }
            _ => {}
        }
    }
    Ok(evictions)
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "twenty nodes, each with its reason to go or to stay, read as one list"
)]
fn of_twenty_nodes_exactly_the_right_ones_go() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let group = Group::new("web").sizes(0, 30, 20).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    let cluster = testbed.cluster();
    let nodes = open_nodes(cluster, 20)?;
    let node = |index: usize| nodes[index].clone();
    // What has to move comes here, and so gives no other node a second reason to stay.
    let refuges = [node(18), node(19)];

    let mut apps = Vec::new();
    let mut deploy = |mut workload: Workload, namespace: &str, index: usize| -> Result<()> {
        namespace.clone_into(&mut workload.namespace);
        workload.pod_spec["affinity"] = rather_on(&node(index), &refuges)["affinity"].clone();
        cluster.deploy(&workload)?;
        apps.push((workload, node(index)));
        Ok(())
    };
    // Busy nodes, which take what has to move.
    deploy(app("busy-a", "1200m", &node(18)), "default", 18)?;
    deploy(app("busy-b", "1200m", &node(19)), "default", 19)?;
    // Nodes 0 to 4 are empty. One application on three nodes, two pods of which always run.
    deploy(app("web-a", "200m", &node(5)), "default", 5)?;
    deploy(app("web-b", "200m", &node(6)), "default", 6)?;
    deploy(app("web-c", "200m", &node(19)), "default", 19)?;
    let two = json!({"minAvailable": 2});
    cluster.apply_object(&budget(
        "default",
        "web",
        &two,
        &["web-a", "web-b", "web-c"],
    ))?;
    // A budget that lets nothing go.
    deploy(app("guarded-a", "100m", &node(7)), "default", 7)?;
    deploy(app("guarded-b", "100m", &node(8)), "default", 8)?;
    let nobody = json!({"maxUnavailable": 0});
    cluster.apply_object(&budget(
        "default",
        "guarded",
        &nobody,
        &["guarded-a", "guarded-b"],
    ))?;
    // Pods of kube-system, with a budget and without.
    deploy(app("dns", "100m", &node(11)), "kube-system", 11)?;
    deploy(app("metrics", "100m", &node(12)), "kube-system", 12)?;
    let single = json!({"maxUnavailable": 1});
    cluster.apply_object(&budget("kube-system", "metrics", &single, &["metrics"]))?;
    // Local storage, and annotations both ways.
    deploy(with_scratch(app("cache", "100m", &node(13))), "default", 13)?;
    let safe = with_scratch(app("scratch", "100m", &node(14)));
    deploy(annotated(safe, SAFE_TO_EVICT, "true"), "default", 14)?;
    let unsafe_app = app("precious", "100m", &node(15));
    deploy(annotated(unsafe_app, SAFE_TO_EVICT, "false"), "default", 15)?;
    all_are_placed(cluster, &apps)?;
    // A StatefulSet, pods that nobody makes again, and a node that an annotation keeps.
    cluster.apply_object(&json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "replicas": 1, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {
                "terminationGracePeriodSeconds": 1,
                "affinity": rather_on(&node(9), &refuges)["affinity"],
                "containers": [{"name": "main", "image": "registry.invalid/pause",
                    "resources": {"requests": {"cpu": "200m", "memory": "64Mi"}}}],
            }},
        },
    }))?;
    cluster.apply_object(&bare_pod("bare", &node(10), &json!({})))?;
    cluster.apply_object(&bare_pod(
        "bare-but-safe",
        &node(17),
        &json!({SAFE_TO_EVICT: "true"}),
    ))?;
    wait_for("the other pods to be where they should", SOON, || {
        let places = places(cluster, "default")?;
        Ok(places.get("db-0") == Some(&node(9)) && places.contains_key("bare-but-safe"))
    })?;
    let kept = json!({"metadata": {"annotations": {
        "cluster-autoscaler.kubernetes.io/scale-down-disabled": "true",
    }}});
    let all_nodes: Api<Node> = Api::all(cluster.client());
    cluster.run(all_nodes.patch(&node(16), &PatchParams::default(), &Patch::Merge(&kept)))?;
    wait_for("the budgets to be counted", SOON, || {
        let budgets: Api<PodDisruptionBudget> = Api::all(cluster.client());
        let all = cluster.run(budgets.list(&ListParams::default()))?;
        Ok(all.iter().all(|it| {
            let status = it.status.as_ref();
            status.is_some_and(|status| {
                status.expected_pods > Some(0) && status.desired_healthy <= status.current_healthy
            })
        }))
    })?;

    let stay: BTreeSet<String> = [7, 8, 10, 11, 13, 15, 16, 18, 19].map(node).into();
    let since = Timestamp::now();
    let windlass = Run::with_flags([
        "--v=4",
        "--cloud-provider=aws",
        DISCOVERY,
        "--leader-elect=false",
        "--scan-interval=1s",
        "--scale-down-unneeded-time=3s",
        "--node-delete-delay-after-taint=1s",
        "--max-drain-parallelism=2",
    ])
    .start(testbed, "windlass")?;
    let is_over = AtomicBool::new(false);
    let looks = thread::scope(|scope| -> Result<usize> {
        let watcher = scope.spawn(|| watch_budgets(cluster, &is_over));
        let gone = wait_for("the right nodes to be left", 3 * SOON, || {
            let left = node_names(testbed)?;
            ensure!(stay.is_subset(&left), "one is gone of {stay:?}: {left:?}");
            Ok(left == stay)
        });
        let stays = gone.and_then(|()| {
            stays("the right nodes are left", Duration::from_secs(10), || {
                Ok(node_names(testbed)? == stay)
            })
        });
        is_over.store(true, Ordering::Relaxed);
        let looks = watcher.join().expect("the watcher does not panic")?;
        stays.map(|()| looks)
    })?;
    ensure!(0 < looks);
    for (index, reason) in [
        (7, "NotEnoughPdb"),
        (8, "NotEnoughPdb"),
        (10, "NotReplicated"),
        (11, "UnmovableKubeSystemPod"),
        (13, "LocalStorageRequested"),
        (15, "NotSafeToEvictAnnotation"),
        (16, "ScaleDownDisabledAnnotation"),
        (18, "NotUnderutilized"),
        (19, "NotUnderutilized"),
    ] {
        let explanation = explain_node(testbed, &node(index))?;
        ensure!(
            explanation["verdict"] == "Stays" && explanation["chain"][0]["check"] == reason,
            "{} stays for {reason}: {explanation:#}",
            node(index)
        );
    }
    let evictions = only_evictions(testbed, since)?;
    eprintln!("{evictions} evictions, budgets looked at {looks} times");
    ensure!(
        6 <= evictions,
        "web-a, web-b, db, metrics, scratch, bare-but-safe had to move"
    );
    ensure!(
        cluster.nodes()?.iter().all(is_clean),
        "a node is left tainted"
    );
    ensure!(testbed.aws().group("web")?.desired == 9);
    for namespace in ["default", "kube-system"] {
        for (pod, node) in places(cluster, namespace)? {
            ensure!(stay.contains(&node), "{pod} is on `{node}`, which is gone");
        }
    }
    windlass.check_for_panics()
}

/// Two nodes with a pod each, of which one is enough.
fn two_nodes() -> Result<&'static Testbed> {
    let testbed = windlass_e2e::testbed()?;
    let group = Group::new("web").sizes(1, 10, 2).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    let cluster = testbed.cluster();
    let nodes = open_nodes(cluster, 2)?;
    let apps = [
        (app("web-a", "300m", &nodes[0]), nodes[0].clone()),
        (app("web-b", "400m", &nodes[1]), nodes[1].clone()),
    ];
    for (app, _) in &apps {
        cluster.deploy(app)?;
    }
    all_are_placed(cluster, &apps)?;
    Ok(testbed)
}

const FAST: [&str; 4] = [
    "--leader-elect=false",
    "--scan-interval=1s",
    "--scale-down-unneeded-time=3s",
    "--node-delete-delay-after-taint=1s",
];

fn one_is_left(testbed: &Testbed) -> Result<()> {
    wait_for("one node to be left", 2 * SOON, || {
        Ok(testbed.aws().group("web")?.instances.len() == 1 && node_names(testbed)?.len() == 1)
    })
}

fn pause(testbed: &Testbed, value: &Value) -> Result<()> {
    testbed.cluster().run(async {
        let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = testbed.cluster().api("kube-system");
        let patch = json!({"metadata": {"annotations": {"windlass.dev/scale-down": value}}});
        maps.patch(
            "cluster-autoscaler-status",
            &PatchParams::default(),
            &Patch::Merge(&patch),
        )
        .await
        .context("annotate the status ConfigMap")
    })?;
    Ok(())
}

#[test]
fn who_pauses_scale_down_in_mid_drain_is_heard_at_once() -> Result<()> {
    let testbed = two_nodes()?;
    let api_server = testbed.proxy_api_server()?;
    // The drain goes no further than to its evictions.
    let refuse = Act::kubernetes_error(429, "TooManyRequests");
    api_server.on(Matcher::method("POST", "/eviction"), refuse);
    let windlass = Run::of_cluster("demo")
        .flags(FAST)
        // Nothing but the annotation itself begins a loop.
        .flag("--scan-interval=1h")
        .api_server_through(testbed, &api_server)?
        .start(testbed, "windlass")?;
    wait_for("an eviction to be refused", SOON, || {
        Ok(!api_server
            .requests_matching(&Matcher::method("POST", "/eviction"))
            .is_empty())
    })?;
    pause(testbed, &json!("paused"))?;
    let is_rolled_back = || Ok(testbed.cluster().nodes()?.iter().all(is_clean));
    wait_for("the removal to be undone", SOON, is_rolled_back)?;
    api_server.pass_all();
    stays("nothing is removed", Duration::from_secs(10), || {
        Ok(is_rolled_back()? && testbed.aws().group("web")?.instances.len() == 2)
    })?;
    pause(testbed, &Value::Null)?;
    one_is_left(testbed)?;
    windlass.check_for_panics()
}

#[test]
fn an_eviction_that_is_answered_with_a_conflict_is_not_taken_for_done() -> Result<()> {
    let testbed = two_nodes()?;
    let api_server = testbed.proxy_api_server()?;
    let eviction = || Matcher::method("POST", "/eviction");
    let conflict = Act::kubernetes_error(409, "Conflict");
    api_server.on(eviction(), conflict).times(1);
    let since = Timestamp::now();
    let windlass = Run::of_cluster("demo")
        .flags(FAST)
        .api_server_through(testbed, &api_server)?
        .start(testbed, "windlass")?;
    one_is_left(testbed)?;
    ensure!(2 <= api_server.requests_matching(&eviction()).len());
    ensure!(only_evictions(testbed, since)? == 1);
    windlass.check_for_panics()
}

#[test]
fn a_pod_that_no_watch_has_told_of_yet_saves_its_node() -> Result<()> {
    let testbed = two_nodes()?;
    let api_server = testbed.proxy_api_server()?;
    // The API server knows a pod on the node that the watches have not told of.
    let unknown = json!({
        "apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1"},
        "items": [{
            "metadata": {"name": "late", "namespace": "default", "uid": "late"},
            "status": {"phase": "Running"},
        }],
    });
    let answer = Act::Answer {
        status: 200,
        content_type: "application/json".to_owned(),
        body: unknown.to_string(),
    };
    let last_look = || Matcher::method("GET", "/api/v1/pods?fieldSelector=spec.nodeName");
    api_server.on(last_look(), answer);
    let aws = testbed.proxy_aws()?;
    let windlass = Run::of_cluster("demo")
        .flags(FAST)
        .api_server_through(testbed, &api_server)?
        .aws_through(&aws)
        .start(testbed, "windlass")?;
    wait_for("the last look", SOON, || {
        Ok(!api_server.requests_matching(&last_look()).is_empty())
    })?;
    wait_for("the removal to be undone", SOON, || {
        Ok(testbed.cluster().nodes()?.iter().all(is_clean))
    })?;
    let terminations = Matcher::action("TerminateInstanceInAutoScalingGroup");
    ensure!(aws.requests_matching(&terminations).is_empty());
    ensure!(testbed.aws().group("web")?.instances.len() == 2);
    api_server.pass_all();
    one_is_left(testbed)?;
    windlass.check_for_panics()
}

#[test]
fn no_candidate_is_marked_once_the_time_for_it_is_over() -> Result<()> {
    let testbed = two_nodes()?;
    let is_marked = || -> Result<bool> {
        let nodes = testbed.cluster().nodes()?;
        let taints = nodes
            .iter()
            .filter_map(|node| node.spec.as_ref()?.taints.as_ref());
        Ok(taints.flatten().any(|taint| taint.key == SOFT_TAINT))
    };
    let run = Run::of_cluster("demo")
        .flags(FAST)
        .flag("--scale-down-unneeded-time=1h");
    let hasty = run.clone().flag("--max-bulk-soft-taint-time=0s");
    let windlass = hasty.start(testbed, "hasty")?;
    wait_for("a node to be unneeded", SOON, || {
        let unneeded = windlass.sample("cluster_autoscaler_unneeded_nodes_count")?;
        Ok(unneeded > 0.0)
    })?;
    stays("no node is marked", Duration::from_secs(5), || {
        Ok(!is_marked()?)
    })?;
    drop(windlass);
    let windlass = run.start(testbed, "patient")?;
    wait_for("a node to be marked", SOON, is_marked)?;
    windlass.check_for_panics()
}
