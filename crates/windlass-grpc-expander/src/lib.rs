//! The expander `grpc`: a server of the operator's own says which node groups should grow, asked
//! by the Go autoscaler's protocol. Source: `pkg/expander/grpcplugin`.
//!
//! [`GrpcExpander`] answers what [`windlass_core::decide_asking`] asks. Whatever goes wrong on the
//! way keeps all options: the cluster must not wait for a server that is away.

mod client;
mod kubernetes;
mod objects;
mod protocol;

pub use client::{GrpcExpander, SetUpError, TIMEOUT};
pub use kubernetes::{
    Affinity, Container, LabelSelector, LabelSelectorRequirement, Node, NodeAffinity,
    NodeCondition, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, NodeSpec, NodeStatus,
    ObjectMeta, OwnerReference, Pod, PodAffinity, PodAffinityTerm, PodSpec, PodStatus, Quantity,
    ResourceRequirements, Taint, Time, Toleration, TopologySpreadConstraint,
};
pub use protocol::{
    BEST_OPTIONS, BestOptionsRequest, BestOptionsResponse, ExpansionOption, SERVICE,
};
