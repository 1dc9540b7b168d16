//! Groups of several zones, where it matters to a pod in which its node is.

use std::sync::Arc;

use windlass_core::{Action, Decision};
use windlass_model::{Instance, InstanceState, Node};

use crate::world::{Documents, Loops, flags, growth, reasons};

const ZONE: &str = "topology.kubernetes.io/zone";
const ZONES: &str = "zones: [z-a, z-b, z-c]";
const IN_B: &str = "nodeSelector: {topology.kubernetes.io/zone: z-b}";
const SPREAD: &str = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: \
                      topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule, \
                      labelSelector: {matchLabels: {app: web}}}]";

/// An empty group of three zones, whose template is of the first.
fn three_zones() -> Documents {
    flags(&[]).labelled_group("a", 4, "topology.kubernetes.io/zone: z-a", ZONES)
}

/// The nodes of the group that were asked for come in these zones.
fn come(loops: &mut Loops, decision: &Decision, zones: &[&str]) {
    loops.carry_out(decision);
    for zone in zones {
        let number = loops.cluster.nodes.len();
        let mut node = Node::clone(&loops.cluster.nodes[0]);
        node.name = format!("new-{number}").into();
        node.provider_id = format!("aws:///{zone}/i-{number}").into();
        node.labels
            .insert("kubernetes.io/hostname", node.name.clone());
        node.labels.insert("windlass.dev/node-group", "a");
        node.labels.insert(ZONE, *zone);
        loops.group("a").instances.push(Instance {
            provider_id: node.provider_id.clone(),
            state: InstanceState::Running,
        });
        loops.cluster.nodes.push(Arc::new(node));
    }
}

#[test]
fn pods_that_may_be_anywhere_are_none_of_it() {
    assert_eq!(three_zones().pods("web", 12, "1", "").growth(), "a 0->3");
}

#[test]
fn a_zone_that_is_not_the_template_s_is_as_good() {
    for (zone, grows) in [("z-a", "a 0->1"), ("z-c", "a 0->1"), ("z-x", "")] {
        let selector = format!("nodeSelector: {{topology.kubernetes.io/zone: {zone}}}");
        let pods = three_zones().pods("web", 8, "1", &selector);
        assert_eq!(pods.growth(), grows, "{zone}");
    }
    // What fits in none is refused by what is wrong with a node of the right zone.
    let huge = three_zones().pods("web", 1, "9", IN_B).decide();
    assert_eq!(reasons(&huge, "a"), ["Insufficient cpu"]);
}

#[test]
fn a_group_of_one_zone_and_one_that_can_be_told_grow_as_far_as_they_must() {
    let one = flags(&[])
        .labelled_group("a", 4, "topology.kubernetes.io/zone: z-b", "")
        .pods("web", 12, "1", IN_B);
    assert_eq!(one.growth(), "a 0->3");
    let mut loops = Loops::new(&three_zones().pods("web", 12, "1", IN_B));
    loops.group("a").notices.can_choose_zone = true;
    let decision = loops.decide();
    assert_eq!(growth(&decision), "a 0->3");
    let Action::IncreaseSize(resize) = &decision.plan.actions[0] else {
        panic!("{:?}", decision.plan.actions);
    };
    assert_eq!(resize.zone.as_deref(), Some("z-b"));
}

#[test]
fn a_group_that_cannot_be_told_the_zone_grows_node_by_node_and_not_for_ever() {
    let documents = three_zones()
        .node("base", "", "", "")
        .pods("web", 1, "3", IN_B)
        .pods("filler", 0, "1", "");
    let mut loops = Loops::new(&documents);
    // A node without room, and in no zone.
    let base = Arc::make_mut(&mut loops.cluster.nodes[0]);
    base.unschedulable = true;
    for size in 1..=3 {
        let decision = loops.decide();
        assert_eq!(growth(&decision), format!("a {}->{size}", size - 1));
        loops.carry_out(&decision);
        // As long as it is not there, nobody knows where it comes.
        loops.pass("30s");
        let waiting = loops.decide();
        assert_eq!(growth(&waiting), "");
        assert!(reasons(&waiting, "a")[0].starts_with("nodes are coming"));
        loops.pass("30s");
        come(&mut loops, &waiting, &["z-a"]);
        let own = loops.cluster.nodes.len() - 1;
        Arc::make_mut(&mut loops.cluster.nodes[own]).unschedulable = false;
    }
    let stopped = loops.decide();
    assert_eq!(growth(&stopped), "");
    assert_eq!(
        reasons(&stopped, "a"),
        [
            "the pod needs a certain zone, and the cloud, which cannot be told, put the last 3 nodes of \
          the group elsewhere: use one group per zone"
        ]
    );
    loops.pass("61m");
    assert_eq!(growth(&loops.decide()), "a 3->4");
}

#[test]
fn once_the_pod_has_its_node_the_tries_are_forgotten() {
    let documents = three_zones()
        .node("base", "", "", "")
        .pods("web", 1, "3", IN_B);
    let mut loops = Loops::new(&documents);
    Arc::make_mut(&mut loops.cluster.nodes[0]).unschedulable = true;
    let decision = loops.decide();
    assert_eq!(loops.memory.zone_tries["a"].count, 1);
    come(&mut loops, &decision, &["z-b"]);
    let own = loops.cluster.nodes.len() - 1;
    Arc::make_mut(&mut loops.cluster.nodes[own]).unschedulable = false;
    // Another pod waits now, which may be anywhere.
    let other = three_zones()
        .node("base", "", "", "")
        .pods("other", 2, "4", "");
    loops.cluster.pods = Loops::new(&other).cluster.pods;
    loops.pass("60s");
    loops.decide();
    assert!(loops.memory.zone_tries.is_empty());
}

#[test]
fn pods_that_may_be_anywhere_do_not_wait_for_one_that_may_not() {
    let both = three_zones()
        .pods("bound", 1, "1", IN_B)
        .pods("web", 12, "1", "");
    let decision = both.decide();
    assert_eq!(growth(&decision), "a 0->3");
    assert_eq!(decision.plan.pods.unschedulable.len(), 0);
}

#[test]
fn pods_that_are_spread_over_the_zones_grow_the_group_where_there_is_room_for_them() {
    let labels = |zone: &str| format!("topology.kubernetes.io/zone: {zone}");
    let mut documents = three_zones().pods("web", 1, "3", SPREAD);
    for zone in ["z-a", "z-b"] {
        documents = documents.node(&format!("n-{zone}"), "a", "", &labels(zone));
    }
    // One of them on each of two zones, so the next has to be in the third: the template's own is
    // of no use.
    for zone in ["z-a", "z-b"] {
        documents = documents.document(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: on-{zone}, labels: {{app: web}}}}, spec: \
             {{nodeName: n-{zone}, containers: [{{name: c, resources: {{requests: {{cpu: 3}}}}}}]}}, \
             status: {{phase: Running}}}}"
        ));
    }
    assert_eq!(documents.growth(), "a 2->3");
}
