//! How long it takes from a pod that fits nowhere to the call that brings a node.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use windlass_e2e::Run;
use windlass_testbed::proxy::Matcher;
use windlass_testbed::{Group, Workload, wait_for};

const BURSTS: u32 = 20;
const PODS: u32 = 2;
const SOON: Duration = Duration::from_mins(1);
const MEDIAN: SignedDuration = SignedDuration::from_millis(250);
const SLOWEST: SignedDuration = SignedDuration::from_secs(1);
/// In KiB.
const MEMORY: u64 = 40 * 1024;

#[test]
fn a_node_is_asked_for_as_soon_as_a_pod_fits_nowhere() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let group = Group::new("web").sizes(1, 100, 1).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    testbed.cluster().wait_for_ready_nodes(1, SOON)?;
    let proxy = testbed.proxy_aws()?;
    let windlass = Run::of_cluster("demo")
        .flag("--scale-down-enabled=false")
        .aws_through(&proxy)
        .start(testbed, "windlass")?;
    windlass.wait_for_log("the first view is complete", SOON)?;

    let mut reactions = Vec::new();
    for burst in 0..BURSTS {
        // Of 3 to 13 s, no two alike: the loop's own clock must not matter.
        std::thread::sleep(Duration::from_millis(
            3000 + u64::from(burst) * 7919 % 10_000,
        ));
        let name = format!("burst-{burst}");
        let began = Timestamp::now();
        // One pod to a node.
        testbed
            .cluster()
            .deploy(&Workload::new(&name, PODS).requests("1500m", "64Mi"))?;
        testbed
            .cluster()
            .wait_until_all_run("default", &name, PODS as usize, SOON)?;
        let given_up = wait_for("the scheduler's verdict in the audit log", SOON, || {
            let records = testbed.audit(began)?;
            let first = records
                .iter()
                .filter(|record| record.is_unschedulable() && record.name.starts_with(&name))
                .map(|record| record.received)
                .min();
            Ok(first)
        })?;
        let asked = proxy
            .requests_matching(&Matcher::action("SetDesiredCapacity"))
            .iter()
            .map(|request| request.received)
            .find(|received| began < *received)
            .context("pods run that nobody asked a node for")?;
        let reaction = asked.duration_since(given_up);
        println!("burst {burst}: {reaction:#}");
        reactions.push(reaction);
    }
    reactions.sort_unstable();
    let median = reactions[reactions.len() / 2];
    let slowest = *reactions.last().context("there were bursts")?;
    let memory = windlass.resident_memory_kib()?;
    println!("median {median:#}, slowest {slowest:#}, resident memory {memory} KiB");
    windlass.check_for_panics()?;
    ensure!(median <= MEDIAN, "the median is {median:#}");
    ensure!(slowest <= SLOWEST, "the slowest is {slowest:#}");
    ensure!(memory <= MEMORY, "{memory} KiB are resident");
    Ok(())
}
