//! Invented histories, by seed. Acceptance c.
//!
//! A few run with every `cargo test`. Many, in a few minutes:
//! `WINDLASS_SEEDS=500 cargo test -p windlass-aws --test faults histories -- --nocapture`, and one
//! again: `WINDLASS_SEED=123 …`.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use windlass_faults::{FakeGroup, Rule, Supply, Trouble};
use windlass_model::{InstanceState, NodeGroup};

use crate::cloud::{CLUSTER, Cloud};
use crate::world::World;

const FEW: u64 = 12;
const NAMES: [&str; 3] = ["a", "b", "c"];
/// Simulated time with faults, and without before the end.
const TROUBLED_STEPS: usize = 160;
const FLAGS: [&str; 5] = [
    "--scale-down-unneeded-time=40s",
    "--scale-down-delay-after-add=30s",
    "--scale-down-delay-after-failure=20s",
    "--max-node-provision-time=4m",
    "--initial-node-group-backoff-duration=1m",
];

#[test]
fn histories_end_no_instance_that_no_plan_named_and_converge() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds: Range<u64> = match (number("WINDLASS_SEED"), number("WINDLASS_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(FEW),
    };
    let mut told = Told::default();
    for seed in seeds.clone() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        told.add(&runtime.block_on(history(seed)));
    }
    println!("{} histories: {told:?}", seeds.end - seeds.start);
    // Histories in which nothing happens show nothing.
    assert!(0 < told.increases && 0 < told.terminations && 0 < told.cancellations);
}

/// What happened, so that it is seen that something did.
#[derive(Debug, Default)]
struct Told {
    calls: usize,
    failed_calls: usize,
    increases: usize,
    terminations: usize,
    cancellations: usize,
    instances_named: usize,
}

impl Told {
    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.failed_calls += other.failed_calls;
        self.increases += other.increases;
        self.terminations += other.terminations;
        self.cancellations += other.cancellations;
        self.instances_named += other.instances_named;
    }
}

#[derive(Clone)]
struct Dice(Arc<Mutex<ChaCha8Rng>>);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(ChaCha8Rng::seed_from_u64(seed))))
    }

    /// Uniform below `end`.
    fn below(&self, end: u32) -> u32 {
        self.0.lock().unwrap().next_u32() % end.max(1)
    }

    /// True once in so many times.
    fn once_in(&self, times: u32) -> bool {
        self.below(times) == 0
    }

    fn of<'a, T>(&self, list: &'a [T]) -> &'a T {
        &list[self.below(u32::try_from(list.len()).unwrap()) as usize]
    }
}

async fn history(seed: u64) -> Told {
    let dice = Dice::new(seed);
    let cloud = Cloud::with(|options| options.calls_per_minute = 100_000).await;
    for name in NAMES {
        let (min, max) = (dice.below(2), 4 + dice.below(6));
        let made = FakeGroup::new(name).sizes(min, max, min + dice.below(3));
        cloud.fake.create(made.discovered_by(CLUSTER));
    }
    let aws = cloud.aws();
    let mut world = World::new(cloud, aws, &FLAGS);
    for name in NAMES {
        let boot = windlass_model::Duration::from_secs(5 + i64::from(dice.below(40)));
        world.boots.insert(name.to_owned(), boot);
    }
    world.cloud.faults.add(calls_go_wrong(&dice));
    for step in 0..TROUBLED_STEPS {
        something_happens(&mut world, &dice);
        world.step().await;
        check_step(&mut world, seed, step).await;
        let pause = 500 + u64::from(dice.below(9500));
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    // The faults stop.
    world.cloud.faults.clear_rules();
    world.cloud.faults.lag(Duration::ZERO);
    world.cloud.faults.list_twice(false);
    for name in NAMES {
        world.cloud.faults.supply(name, Supply::default());
    }
    world.finish_actions().await;
    check_convergence(&world, seed).await;
    tell(&world)
}

/// One call in twelve goes wrong, one way or another.
fn calls_go_wrong(dice: &Dice) -> Rule {
    let dice = dice.clone();
    Rule::new(move |_| {
        if !dice.once_in(12) {
            return None;
        }
        Some(match dice.below(6) {
            0 => Trouble::throttling(),
            1 => Trouble::internal(),
            2 => Trouble::Slow(Duration::from_millis(u64::from(dice.below(3000)))),
            3 => Trouble::LoseCall,
            4 => Trouble::LoseReply,
            _ => Trouble::FailAfterwards,
        })
    })
}

fn something_happens(world: &mut World, dice: &Dice) {
    let name = *dice.of(&NAMES);
    let cloud = &world.cloud;
    match dice.below(16) {
        0 | 1 => cloud.faults.supply(name, supply(dice)),
        2 => cloud
            .faults
            .lag(Duration::from_millis(u64::from(dice.below(5000)))),
        3 => cloud.faults.list_twice(dice.once_in(2)),
        4 if dice.once_in(2) => {
            let size = u32::try_from(cloud.fake.instances(name).len()).unwrap();
            cloud.fake.set_desired(name, size + dice.below(3));
        }
        5 if dice.once_in(3) => {
            let size = u32::try_from(cloud.fake.instances(name).len()).unwrap();
            cloud.fake.set_desired(name, size.saturating_sub(1));
        }
        6 if dice.once_in(2) => {
            if let Some((id, _)) = cloud.fake.instances(name).first() {
                cloud.fake.interrupt(id);
            }
        }
        7 if dice.once_in(4) => {
            let min = dice.below(3);
            cloud.fake.set_limits(name, min, min + 2 + dice.below(6));
        }
        8 if dice.once_in(6) => {
            if let Some(spec) = cloud.fake.spec(name) {
                cloud.fake.delete(name);
                cloud.fake.create(spec);
            }
        }
        9..=11 if dice.once_in(3) => world.want_pods(dice.below(10) as usize),
        _ => {}
    }
}

fn supply(dice: &Dice) -> Supply {
    let mut supply = Supply::default();
    if dice.once_in(2) {
        supply = supply.most(dice.below(5));
    }
    if dice.once_in(2) {
        supply = supply.launching_for(Duration::from_secs(u64::from(dice.below(60))));
    }
    if dice.once_in(3) {
        supply = supply.listed_after(Duration::from_secs(u64::from(dice.below(6))));
    }
    if dice.once_in(3) {
        let time = Duration::from_secs(u64::from(dice.below(60)));
        supply = supply.pending_for(time, dice.of::<&str>(&["Pending", "Pending:Wait"]));
    }
    if dice.once_in(3) {
        supply = supply.terminating_for(Duration::from_secs(u64::from(dice.below(90))));
    }
    supply
}

async fn check_step(world: &mut World, seed: u64, step: usize) {
    let at = format!("seed {seed}, step {step}; again: WINDLASS_SEED={seed}");
    assert_eq!(world.cloud.faults.victims(), [], "AWS chose a victim; {at}");
    for name in NAMES {
        if let Some(truth) = world.cloud.faults.truth(name).await {
            assert!(
                truth.desired <= truth.max,
                "{name} is over its maximum; {at}"
            );
        }
    }
}

/// Within three refreshes the view is the truth.
async fn check_convergence(world: &World, seed: u64) {
    let mut refreshes = 0;
    while refreshes < 3 {
        if world.aws.next_refresh() <= world.now() && world.aws.refresh().await.listed {
            refreshes += 1;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for group in world.aws.node_groups() {
        let truth = world.cloud.faults.truth(&group.name).await.unwrap();
        let at = format!("{} of seed {seed}", group.name);
        assert_eq!(
            group.target_size,
            i64::from(truth.desired),
            "target of {at}"
        );
        assert_eq!(group.min_size, i64::from(truth.min), "minimum of {at}");
        assert_eq!(group.max_size, i64::from(truth.max), "maximum of {at}");
        assert_eq!(real_instances(&group), truth.instances, "instances of {at}");
    }
    assert_eq!(world.aws.node_groups().len(), NAMES.len());
    assert_eq!(world.cloud.faults.victims(), [], "seed {seed}");
}

fn real_instances(group: &NodeGroup) -> BTreeSet<String> {
    group
        .instances
        .iter()
        .filter(|instance| instance.state != InstanceState::Deleting)
        .filter_map(|instance| instance.provider_id.rsplit('/').next())
        .filter(|id| !id.starts_with("i-placeholder-"))
        .map(ToOwned::to_owned)
        .collect()
}

fn tell(world: &World) -> Told {
    let log = world.cloud.faults.log();
    let of = |action: &str| log.iter().filter(|entry| entry.action == action).count();
    Told {
        calls: log.len(),
        failed_calls: log.iter().filter(|entry| entry.status != Some(200)).count(),
        increases: of("SetDesiredCapacity"),
        terminations: of("TerminateInstanceInAutoScalingGroup"),
        cancellations: world
            .actions
            .iter()
            .filter(|action| {
                matches!(
                    action,
                    windlass_core::Action::DeleteInstances { .. }
                        | windlass_core::Action::DecreaseTargetSize { .. }
                )
            })
            .count(),
        instances_named: world.named.len(),
    }
}
