//! Which group grows, and by how much. Source: `pkg/core/scaleup`, `pkg/estimator`, `pkg/expander`.
