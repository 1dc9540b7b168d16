//! Which nodes are not needed, and which of them go now. Source: `pkg/core/scaledown`.
