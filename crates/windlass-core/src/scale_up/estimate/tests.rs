use std::sync::Arc;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use windlass_config::Config;
use windlass_model::{
    Cluster, Node, NodeGroup, NodeTemplate, Phase, Pod, PodScheduled, PodShape, Quantity,
    ResourceList, Resources, SmolStr, Timestamp,
};

use super::{NodeLimit, bins, packing, sorted_by_size};
use crate::{
    Input, Memory, NoTimeLimits, decide::observe, pending, prepare, scale_up::classes, template,
};

fn node(name: &str, cpu: i64) -> Node {
    let amounts: ResourceList = [
        ("cpu", Quantity::from_units(cpu)),
        ("memory", Quantity::from_bytes(16 << 30)),
        ("pods", Quantity::from_units(9)),
    ]
    .into_iter()
    .collect();
    Node {
        name: name.into(),
        capacity: amounts.clone(),
        allocatable: amounts,
        ..Node::default()
    }
}

fn pods_of(shape: &Arc<PodShape>, count: u64, prefix: u64) -> impl Iterator<Item = Arc<Pod>> {
    (0..count).map(move |number| {
        let name = SmolStr::from(format!("web-{prefix}-{number}"));
        Arc::new(Pod {
            uid: name.clone(),
            name,
            shape: Arc::clone(shape),
            resized_requests: None,
            created_at: Some(Timestamp::UNIX_EPOCH),
            deletion_timestamp: None,
            node_name: None,
            nominated_node_name: None,
            phase: Phase::Pending,
            scheduled: PodScheduled::Unschedulable { since: None },
            is_ready: false,
        })
    })
}

/// A full node or none, an empty group, and pods of a few random sizes.
fn cluster(seed: u64) -> Cluster {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = |below: u64| random.next_u64() % below;
    let mut pods = Vec::new();
    for kind in 0..2 + draw(6) {
        let requests = Resources {
            milli_cpu: i64::try_from(100 * draw(30)).unwrap(),
            memory_bytes: i64::try_from(draw(12) << 30).unwrap(),
            ..Resources::default()
        };
        let shape = Arc::new(PodShape {
            namespace: "default".into(),
            spec_digest: kind,
            requests,
            ..PodShape::default()
        });
        pods.extend(pods_of(&shape, 1 + draw(40), kind));
    }
    Cluster {
        nodes: (0..seed % 2).map(|_| Arc::new(node("full", 0))).collect(),
        pods,
        groups: vec![NodeGroup {
            name: "workers".into(),
            min_size: 0,
            max_size: i64::try_from(10 + draw(60)).unwrap(),
            target_size: 0,
            requested_at: None,
            instances: Vec::new(),
            template: Some(NodeTemplate::of(node("new", 4))),
            price_per_hour: None,
            zones: Vec::new(),
            provision_time: None,
            options: windlass_model::GroupOptions::default(),
            notices: windlass_model::GroupNotices::default(),
        }],
        ..Cluster::default()
    }
}

#[test]
fn arithmetic_packs_as_the_snapshot_does() {
    for seed in 0..200 {
        let cluster = cluster(seed);
        let (config, memory) = (Config::default(), Memory::default());
        let input = Input {
            cluster: &cluster,
            memory: &memory,
            outcomes: &[],
            config: &config,
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            budget: &NoTimeLimits,
        };
        let mut context = observe(&input, prepare(&cluster, &config));
        template::recompute(&mut context);
        let (pending, wanting) = pending::process(&mut context);
        let all = classes::group(&pending, &wanting);
        let new = context.templates[0].clone().unwrap();
        let fresh = Resources::from_list(&new.node.allocatable);
        let fitting = all
            .iter()
            .filter(|class| class.exemplar.shape.requests.milli_cpu <= fresh.milli_cpu)
            .collect();
        let fitting = sorted_by_size(fitting, &new);
        let limit = NodeLimit::of(&context, 0, &[], 1);

        assert!(bins::can_pack(&context, &fitting));
        let start = usize::try_from(seed % 7).unwrap();
        context.snapshot.set_last_found(start);
        let quick = bins::pack(&mut context, &new, limit, &fitting);
        let quick_found = context.snapshot.last_found();
        context.snapshot.set_last_found(start);
        let slow = packing::pack(
            &mut context,
            &pending,
            &new,
            limit,
            &fitting,
            packing::LastClass::Tried,
        );
        assert_eq!(quick.nodes, slow.nodes, "seed {seed}");
        assert_eq!(quick.pods, slow.pods, "seed {seed}");
        assert_eq!(quick.milli_cpu, slow.milli_cpu, "seed {seed}");
        assert_eq!(quick_found, context.snapshot.last_found(), "seed {seed}");
    }
}
