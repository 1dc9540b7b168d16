//! Cluster health and readiness, nodes on their way, open scale-ups, backoff. Source: `pkg/clusterstate`.
