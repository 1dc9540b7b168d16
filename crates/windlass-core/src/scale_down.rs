//! Which nodes are not needed, and which of them go now. Source: `pkg/core/scaledown`.

use crate::decide::Loop;

/// Finds the nodes that are not needed and plans the removal of those that go now.
pub(crate) fn plan(_context: &mut Loop<'_>) {}
