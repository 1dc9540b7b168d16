//! How many removals may begin now: those in progress count against `--max-scale-down-parallelism`
//! and `--max-drain-parallelism`, those of the last hour against `--max-removals-per-hour`. Source
//! of the first two: `pkg/core/scaledown/budgets/budgets.go`.

use windlass_config::Config;
use windlass_model::Duration;

use super::{
    Removable,
    selection::{Chosen, is_atomic, is_whole_group, registered},
};
use crate::{decide::Loop, drain};

const HOUR: Duration = Duration::from_hours(1);
/// The default of `--max-scale-down-parallelism`.
const DEFAULT_PARALLELISM: i64 = 10;

/// A removal that begins now.
#[derive(Clone, Debug)]
pub(crate) struct Removal {
    pub(crate) removable: Removable,
    /// Of a group that goes as a whole, how many nodes go together.
    pub(crate) batch: Option<usize>,
}

/// The nodes of one group, of one kind.
struct Bucket {
    group: usize,
    nodes: Vec<Removable>,
}

struct Left {
    removals: i64,
    drains: i64,
    this_hour: i64,
}

/// Cuts `chosen` to what may begin now: whole groups first, then empty nodes, then drains.
pub(super) fn apply(context: &mut Loop<'_>, chosen: Chosen) -> Vec<Removal> {
    let in_progress = drain::in_progress(context);
    let actuation = &context.config.actuation;
    let mut left = Left {
        removals: actuation.max_scale_down_parallelism - in_progress.empty - in_progress.drained,
        drains: actuation.max_drain_parallelism - in_progress.drained,
        this_hour: removals_left_this_hour(context),
    };
    if !context.memory.replacements.is_empty() {
        left.drains = left.drains.min(0);
    }
    let (atomic_empty, empty): (Vec<_>, Vec<_>) = buckets(chosen.empty)
        .into_iter()
        .partition(|bucket| is_atomic(context, bucket.group));
    let (atomic_drain, to_drain): (Vec<_>, Vec<_>) = buckets(chosen.to_drain)
        .into_iter()
        .partition(|bucket| is_atomic(context, bucket.group));

    let mut begun = whole_groups(context, &mut left, atomic_empty, atomic_drain);
    take_singly(empty, &mut left.removals, &mut left.this_hour, &mut begun);
    let mut drains = left.drains.min(left.removals);
    take_singly(to_drain, &mut drains, &mut left.this_hour, &mut begun);
    begun.sort_by_key(|removal| !removal.removable.is_empty());
    begun
}

/// The nodes of each group together, groups in the order in which they appear.
fn buckets(nodes: Vec<Removable>) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    for removable in nodes {
        let group = removable.group;
        match buckets.iter_mut().find(|bucket| bucket.group == group) {
            Some(bucket) => bucket.nodes.push(removable),
            None => buckets.push(Bucket {
                group,
                nodes: vec![removable],
            }),
        }
    }
    buckets
}

fn take_singly(
    buckets: Vec<Bucket>,
    left: &mut i64,
    this_hour: &mut i64,
    begun: &mut Vec<Removal>,
) {
    for bucket in buckets {
        let most = usize::try_from((*left).min(*this_hour)).unwrap_or(0);
        for removable in bucket.nodes.into_iter().take(most) {
            *left -= 1;
            *this_hour -= 1;
            begun.push(Removal {
                removable,
                batch: None,
            });
        }
    }
}

/// Groups that go as a whole. One that is larger than the budget may still go when it is the first
/// to do so.
fn whole_groups(
    context: &Loop<'_>,
    left: &mut Left,
    empty: Vec<Bucket>,
    mut to_drain: Vec<Bucket>,
) -> Vec<Removal> {
    let mut begun = Vec::new();
    let mut may_overflow = true;
    let mut try_group = |mut empty: Vec<Removable>, drains: Vec<Removable>, group: usize| {
        let (drained, count) = (size(&drains), size(&empty) + size(&drains));
        let fits = count <= left.removals && drained <= left.drains && count <= left.this_hour;
        let overflows = may_overflow
            && left.removals != 0
            && (drained == 0 || left.drains != 0)
            && left.this_hour != 0;
        if !fits && !overflows {
            return false;
        }
        empty.extend(drains);
        if !is_whole_group(context, group, empty.len()) {
            return true;
        }
        let batch = if empty.len() == registered(context, group) {
            Some(empty.len())
        } else {
            usize::try_from(context.groups[group].target_size).ok()
        };
        may_overflow = false;
        left.removals -= count;
        left.drains -= drained;
        left.this_hour -= count;
        begun.extend(
            empty
                .into_iter()
                .map(|removable| Removal { removable, batch }),
        );
        true
    };
    for bucket in empty {
        let position = to_drain
            .iter()
            .position(|other| other.group == bucket.group);
        let drains = position.map_or_else(Vec::new, |i| to_drain.remove(i).nodes);
        if !try_group(bucket.nodes, drains, bucket.group) {
            break;
        }
    }
    for bucket in to_drain {
        if !try_group(Vec::new(), bucket.nodes, bucket.group) {
            break;
        }
    }
    begun
}

fn size(nodes: &[Removable]) -> i64 {
    i64::try_from(nodes.len()).unwrap_or(i64::MAX)
}

/// How many removals the last hour leaves room for.
fn removals_left_this_hour(context: &mut Loop<'_>) -> i64 {
    let now = context.now;
    let recent = &mut context.memory.recent_removals;
    recent.retain(|at| now.duration_since(*at) < HOUR);
    let recent = i64::try_from(recent.len()).unwrap_or(i64::MAX);
    removals_per_hour(context.config, context.cluster.nodes.len())
        .map_or(i64::MAX, |most| most.saturating_sub(recent))
}

/// How many of `nodes` nodes may go within an hour. Who allows more than the usual number of
/// removals at one moment does not mean fewer than that in an hour.
pub(crate) fn removals_per_hour(config: &Config, nodes: usize) -> Option<i64> {
    let most = config.safety.removals_per_hour(nodes)?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let at_once = config.actuation.max_scale_down_parallelism;
    Some(if at_once > DEFAULT_PARALLELISM {
        most.max(at_once)
    } else {
        most
    })
}
