//! On whose new node a class of pods would fit.

use windlass_model::SmolStr;
use windlass_scheduler::{Code, NodeId, Rejection};

use super::{Attempt, PodClass, zones};
use crate::{decide::Loop, template};

/// Tries each class on one new node of each group in `groups`.
pub(super) fn run(context: &mut Loop<'_>, groups: &[usize], classes: &mut [PodClass]) {
    zones::forget_vanished(context);
    for group in groups.iter().copied() {
        let zones = zones::of(context, group);
        if !zones.is_empty() {
            zones::fit(context, group, &zones, classes);
            continue;
        }
        with_new_node(context, group, |context, node| {
            for class in &mut *classes {
                // The verdict alone is cheaper than the reasons.
                if context.snapshot.fits(&class.exemplar, node) {
                    class.groups.push(group);
                    class.is_schedulable = true;
                } else if let Err(rejection) = context.snapshot.check(&class.exemplar, node) {
                    let reasons = reasons_of(class, rejection);
                    class.rejections.insert(group, reasons);
                }
            }
        });
    }
}

/// For pods that stay pending, tells apart the skipped groups that would not have helped anyway.
pub(super) fn simulate_skipped(context: &mut Loop<'_>, attempt: &mut Attempt) {
    let skipped: Vec<usize> = attempt.skipped.keys().copied().collect();
    for group in skipped {
        with_new_node(context, group, |context, node| {
            for class in attempt
                .classes
                .iter_mut()
                .filter(|class| !class.is_schedulable)
            {
                if let Err(rejection) = context.snapshot.check(&class.exemplar, node) {
                    let reasons = reasons_of(class, rejection);
                    class.rejections.insert(group, reasons);
                }
            }
        });
    }
}

fn with_new_node(context: &mut Loop<'_>, group: usize, ask: impl FnOnce(&mut Loop<'_>, NodeId)) {
    let Some(template) = context.templates[group].clone() else {
        return;
    };
    context.snapshot.fork();
    let node = template::add_template(&mut context.snapshot, &template);
    ask(context, node);
    context.snapshot.revert();
}

pub(super) fn reasons_of(class: &PodClass, rejection: Rejection) -> Vec<SmolStr> {
    if rejection.code == Code::Error {
        return vec![
            format!(
                "can't schedule pod {}: unexpected error: {}",
                class.exemplar.full_name(),
                rejection.reasons.join(", ")
            )
            .into(),
        ];
    }
    rejection.reasons
}
