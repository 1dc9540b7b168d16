//! Several scale-ups in one loop, each for the pods that the ones before do not help.

use rustc_hash::FxHashSet;

use super::{Attempt, Extent, ScaleUpResult, attempt, report};
use crate::{
    Part, TimeLimit,
    cluster_state::UPCOMING_ANNOTATION,
    decide::Loop,
    pending::{PendingPods, PodIndex},
    template,
};

/// Scales up once, or with `--salvo-scale-up` until nothing more can be done; how the last
/// attempt ended.
pub(super) fn run(
    context: &mut Loop<'_>,
    pending: &mut PendingPods,
    mut wanting: Vec<PodIndex>,
) -> ScaleUpResult {
    let flags = &context.config.scale_up;
    let is_salvo = flags.salvo_scale_up;
    if is_salvo {
        context
            .budget
            .start(TimeLimit::SalvoScaleUp, flags.salvo_scale_up_budget);
    }
    let mut round = 0_usize;
    loop {
        context.budget.begin(Part::ScaleUp);
        let attempt = attempt(context, pending, &wanting, Extent::AsMuchAsPossible);
        context.budget.end(Part::ScaleUp);
        report::note(context, pending, &attempt);
        let may_go_on = is_salvo
            && attempt.result == ScaleUpResult::Successful
            && !attempt.triggered.is_empty()
            && !attempt.resizes.is_empty();
        if !may_go_on {
            return attempt.result;
        }
        let helped: FxHashSet<PodIndex> = attempt.triggered.iter().copied().collect();
        wanting.retain(|index| !helped.contains(index));
        let is_over = wanting.is_empty() || context.budget.is_spent(TimeLimit::SalvoScaleUp);
        if is_over || !show_in_snapshot(context, pending, &attempt, round) {
            return attempt.result;
        }
        round += 1;
    }
}

/// Puts the new nodes with their pods into the snapshot; whether all pods found a place.
fn show_in_snapshot(
    context: &mut Loop<'_>,
    pending: &PendingPods,
    attempt: &Attempt,
    round: usize,
) -> bool {
    let mut added = FxHashSet::default();
    for resize in &attempt.resizes {
        let Some(template) = context.templates[resize.group].clone() else {
            return false;
        };
        for number in resize.from..resize.to {
            let suffix = format!("{number}-salvo-{round}");
            let node = template::copy_of(&template, &suffix, Some(UPCOMING_ANNOTATION));
            added.insert(template::add_new_node(&mut context.snapshot, node));
        }
        context.groups[resize.group].added_in_snapshot += resize.to - resize.from;
    }
    attempt.triggered.iter().all(|index| {
        let pod = pending.pod(*index);
        let node = context
            .snapshot
            .first_fit(pod, |node| added.contains(&node));
        if let Some(node) = node {
            context.snapshot.add_pod(pod, node);
        }
        node.is_some()
    })
}
