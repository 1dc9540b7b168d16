//! What a new node of each group looks like. Source: `pkg/processors/nodeinfosprovider`.
