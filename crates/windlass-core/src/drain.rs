//! A node's removal, step by step: taint, wait, look again, evict, wait, terminate, or undo.

use serde::{Deserialize, Serialize};
use windlass_model::{SmolStr, Timestamp};

use crate::decide::Loop;

/// One removal in progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drain {
    /// The node's group.
    pub group: SmolStr,
    /// The instance that goes.
    pub instance: SmolStr,
    /// When the removal began.
    pub started_at: Timestamp,
}

/// Takes every removal in progress one step further.
pub(crate) fn advance(_context: &mut Loop<'_>) {}
