//! Which pods wait for a node: the pod list processors. Source: `pkg/core/podlistprocessor`.

pub(crate) mod classify;

pub(crate) use classify::{Standing, is_expendable, standing};
