//! The messages of the package `grpcplugin`. Source: `pkg/expander/grpcplugin/protos/expander.proto`.

use std::collections::BTreeMap;

/// The service's name.
pub const SERVICE: &str = "grpcplugin.Expander";
/// The path of its one method.
pub const BEST_OPTIONS: &str = "/grpcplugin.Expander/BestOptions";

/// Which of these options are best?
#[derive(Clone, PartialEq, prost::Message)]
pub struct BestOptionsRequest {
    /// The options.
    #[prost(message, repeated, tag = "1")]
    pub options: Vec<ExpansionOption>,
    /// A `v1.Node` of each group as it would be new, as protobuf, by group.
    #[prost(btree_map = "string, bytes", tag = "3")]
    pub node_bytes_map: BTreeMap<String, Vec<u8>>,
}

/// These.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BestOptionsResponse {
    /// The options; only their groups are read.
    #[prost(message, repeated, tag = "1")]
    pub options: Vec<ExpansionOption>,
}

/// A group that could grow.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExpansionOption {
    /// The group.
    #[prost(string, tag = "1")]
    pub node_group_id: String,
    /// By how many nodes.
    #[prost(int32, tag = "2")]
    pub node_count: i32,
    /// A text for people.
    #[prost(string, tag = "3")]
    pub debug: String,
    /// The pods that these nodes would hold, each a `v1.Pod` as protobuf.
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub pod_bytes: Vec<Vec<u8>>,
}
