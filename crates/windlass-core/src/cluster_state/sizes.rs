//! Groups that have not as many nodes as they should.

use serde::{Deserialize, Serialize};
use windlass_model::Timestamp;

use crate::decide::Loop;

/// A group's size, as long as it is wrong and stays the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncorrectSize {
    /// Nodes registered.
    pub registered: i64,
    /// Nodes asked for.
    pub expected: i64,
    /// Since when both numbers are these.
    pub since: Timestamp,
}

pub(super) fn note_incorrect(context: &mut Loop<'_>) {
    let known = std::mem::take(&mut context.memory.incorrect_sizes);
    for (group, state) in context.cluster.groups.iter().zip(&context.groups) {
        let counts = &state.counts;
        if counts.is_empty() {
            continue;
        }
        let expected = group.target_size;
        let registered = counts.registered;
        let is_right = registered <= expected
            && registered >= expected - (counts.unregistered + counts.long_unregistered);
        if is_right {
            continue;
        }
        let since = known
            .get(&group.name)
            .filter(|size| size.registered == registered && size.expected == expected)
            .map_or(context.now, |size| size.since);
        context.memory.incorrect_sizes.insert(
            group.name.clone(),
            IncorrectSize {
                registered,
                expected,
                since,
            },
        );
    }
}
