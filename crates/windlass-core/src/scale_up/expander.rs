//! Which of the groups that could grow does. Source: `pkg/expander`.
//!
//! Each expander of the chain leaves some of the options; as soon as one is left it wins. The
//! first is asked even about a single option: it may leave none. Of several that are left in the
//! end one is drawn where the chain holds `random` or a seed is given; else the group with the
//! fewest nodes wins, and of those the first by name.

pub(crate) mod grpc;
mod least_nodes;
mod least_waste;
mod most_pods;
mod price;
mod priority;
mod random;

use windlass_config::Expander;

use super::ExpansionOption;
use crate::{decide::Loop, pending::PendingPods};

/// The place in `options` of the one that wins; `None` when an expander leaves none, or an answer
/// has to be waited for.
pub(super) fn choose(
    context: &mut Loop<'_>,
    pending: &PendingPods,
    options: &[ExpansionOption],
) -> Option<usize> {
    let mut left: Vec<usize> = (0..options.len()).collect();
    let chain: Vec<Expander> = context.config.scale_up.expander.as_slice().to_vec();
    for expander in &chain {
        left = match expander {
            Expander::Random => random::draw(context, &left).into_iter().collect(),
            Expander::MostPods => most_pods::best(options, &left),
            Expander::LeastNodes => least_nodes::best(options, &left),
            Expander::LeastWaste => least_waste::best(context, options, &left),
            Expander::Price => price::best(context, options, &left),
            Expander::Priority => priority::best(context, options, &left),
            Expander::Grpc => grpc::best(context, pending, options, &left),
        };
        if left.len() == 1 || context.consultation.is_waiting() {
            break;
        }
    }
    if left.len() <= 1 {
        return left.first().copied();
    }
    if context.config.process.seed != 0 {
        return random::draw(context, &left);
    }
    left.into_iter().min_by_key(|place| {
        let group = options[*place].group;
        (
            context.groups[group].target_size,
            &context.cluster.groups[group].name,
        )
    })
}

/// The places whose value is the least; equal ones all stay.
fn least_of<T: PartialOrd + Copy>(
    places: &[usize],
    value: impl Fn(usize) -> Option<T>,
) -> Vec<usize> {
    let mut best: Option<T> = None;
    let mut left = Vec::new();
    for place in places {
        let Some(own) = value(*place) else { continue };
        if best.is_none_or(|best| own < best) {
            best = Some(own);
            left.clear();
            left.push(*place);
        } else if best == Some(own) {
            left.push(*place);
        }
    }
    left
}
