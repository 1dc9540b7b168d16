//! The API server: watches, evictions, taints, events, the lease and the status ConfigMap.
