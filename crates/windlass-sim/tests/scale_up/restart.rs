//! What a restarted autoscaler still knows: it buys nothing twice.

use windlass_core::Memory;

use crate::world::{Documents, Loops, flags, growth, reasons};

/// A node that holds four of twelve pods.
fn twelve_pods() -> Documents {
    flags(&[])
        .node("n1", "a", "", "")
        .group("a", 4, "")
        .pods("web", 12, "1", "")
}

/// The memory as a successor reads it: only what was written down.
fn restart(loops: &mut Loops) {
    let written = serde_json::to_vec(&loops.memory).unwrap();
    loops.memory = serde_json::from_slice::<Memory>(&written).unwrap();
    loops.outcomes.clear();
}

#[test]
fn nodes_on_their_way_are_not_bought_again() {
    let mut loops = Loops::new(&twelve_pods());
    let decision = loops.decide();
    assert_eq!(growth(&decision), "a 1->3");
    loops.carry_out(&decision);
    restart(&mut loops);
    loops.pass("10s");
    let decision = loops.decide();
    assert_eq!(growth(&decision), "");
    assert_eq!(decision.plan.pods.schedulable.len(), 12);
}

#[test]
fn an_intent_without_an_outcome_counts_once_the_cloud_shows_it() {
    // The process dies between writing the intent down and hearing of the cloud.
    let mut loops = Loops::new(&twelve_pods());
    loops.decide();
    loops.group("a").target_size = 3;
    restart(&mut loops);
    assert_eq!(growth(&loops.decide()), "");
    // Where the cloud was never asked, the pods' need is as it was.
    let mut loops = Loops::new(&twelve_pods());
    loops.decide();
    restart(&mut loops);
    assert_eq!(growth(&loops.decide()), "a 1->3");
}

#[test]
fn without_its_memory_it_would_buy_twice() {
    let mut loops = Loops::new(&twelve_pods());
    let decision = loops.decide();
    loops.carry_out(&decision);
    loops.memory = Memory::default();
    loops.outcomes.clear();
    assert_eq!(
        growth(&loops.decide()),
        "a 3->5",
        "what the Go autoscaler does"
    );
}

#[test]
fn a_scale_up_still_times_out_after_a_restart() {
    let mut loops = Loops::new(&twelve_pods());
    let decision = loops.decide();
    loops.carry_out(&decision);
    loops.pass("10m");
    restart(&mut loops);
    loops.pass("5m1s");
    let decision = loops.decide();
    assert!(
        decision
            .plan
            .events
            .iter()
            .any(|event| event.reason == "ScaleUpTimedOut")
    );
}

#[test]
fn backoffs_outlive_a_restart() {
    let mut loops = Loops::new(&twelve_pods());
    let decision = loops.decide();
    loops.fail_growth(&decision);
    loops.decide();
    restart(&mut loops);
    loops.pass("4m");
    let decision = loops.decide();
    assert_eq!(growth(&decision), "");
    assert_eq!(
        reasons(&decision, "a"),
        ["in backoff after failed scale-up"]
    );
    loops.pass("2m");
    assert_eq!(growth(&loops.decide()), "a 1->3");
}
