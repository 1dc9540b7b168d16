//! What a cluster is, as a decision sees it: quantities, resource vectors, labels, taints, selectors, pods, nodes and node groups.
