//! Which pods wait for a node: the pod list processors. Source: `pkg/core/podlistprocessor`.
