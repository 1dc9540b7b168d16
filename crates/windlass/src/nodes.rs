//! Nodes as the API server lists them.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::json::text;

/// The taint that a cloud controller takes away from a node that it has adopted.
pub(crate) const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";
/// How long a node may be without its cloud's properties before somebody should look.
const INITIALIZED_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// The names of those that no cloud controller has adopted in good time.
pub(crate) fn never_initialized<'a>(
    nodes: impl IntoIterator<Item = &'a Value>,
    now: Timestamp,
) -> Vec<&'a str> {
    nodes
        .into_iter()
        .filter(|node| {
            let taints = node["spec"]["taints"].as_array();
            let created = text(node, "/metadata/creationTimestamp").parse::<Timestamp>();
            taints
                .into_iter()
                .flatten()
                .any(|taint| taint["key"] == UNINITIALIZED)
                && created.is_ok_and(|time| INITIALIZED_WITHIN < now.duration_since(time))
        })
        .map(|node| text(node, "/metadata/name"))
        .collect()
}
