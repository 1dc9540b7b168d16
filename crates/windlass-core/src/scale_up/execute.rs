//! Turns resizes into actions, with what is said of them.

use windlass_model::SmolStr;

use super::GroupResize;
use crate::{
    Action, Event, EventObject, EventTiming, Resize, ResizeCause, cluster_state, decide::Loop,
};

/// Plans the resizes in order, in a certain zone where that matters. The open scale-ups are written
/// down before the cloud is asked.
///
/// Where groups grow in turn, the beginning of one is told once the one before has grown: behind a
/// failed one nothing begins.
pub(super) fn plan(
    context: &mut Loop<'_>,
    resizes: &[GroupResize],
    cause: ResizeCause,
    zone: Option<&SmolStr>,
) {
    let grows_in_turn = !context.config.scale_up.parallel_scale_up;
    let mut begins = EventTiming::AtOnce;
    for resize in resizes {
        let GroupResize { group, from, to } = *resize;
        let max = context.cluster.groups[group].max_size;
        let name = context.cluster.groups[group].name.clone();
        let event = |message: String| Event::normal("ScaledUpGroup", EventObject::Status, message);
        let action = context.plan.actions.len();
        context.plan.events.push(
            event(format!(
                "Scale-up: setting group {name} size to {to} instead of {from} (max: {max})"
            ))
            .at(begins),
        );
        context.plan.events.push(
            event(format!(
                "Scale-up: group {name} size set to {to} instead of {from} (max: {max})"
            ))
            .at(EventTiming::OnceDone(action)),
        );
        if grows_in_turn {
            begins = EventTiming::OnceDone(action);
        }
        let planned = Resize {
            group: name,
            from,
            to,
            max,
            cause,
            zone: zone.cloned(),
        };
        context
            .plan
            .actions
            .push(Action::IncreaseSize(planned.clone()));
        context.plan.scale_up.resizes.push(planned);
        context.groups[group].target_size = to;
        cluster_state::open_scale_up(context, group, to - from);
    }
}

/// The sizes as events print them: `[{workers 1->3 (max: 10)}]`.
pub(super) fn describe(context: &Loop<'_>, resizes: &[GroupResize]) -> SmolStr {
    let triples: Vec<String> = resizes
        .iter()
        .map(|resize| {
            let group = &context.cluster.groups[resize.group];
            format!(
                "{{{} {}->{} (max: {})}}",
                group.name, resize.from, resize.to, group.max_size
            )
        })
        .collect();
    format!("[{}]", triples.join(" ")).into()
}
