//! How an instance becomes a node: what `windlass join` is told, and what follows for kubeadm.
//!
//! No clock and no I/O here: the binary reads files, asks the metadata service and runs kubeadm.

mod config;
mod identity;
mod kubeadm;
mod kubeconfig;
mod phase;

pub use config::{
    CloudProviderSetting, HookConfig, NodeConfig, NodeConfigError, NodeNameRule, OnFailureSetting,
    Reserved, TaintConfig,
};
pub use identity::{Identity, IdentityError, Metadata};
pub use kubeadm::{
    Discovery, SkewError, check_skew, discovery_kubeconfig, join_configuration, reserve,
};
pub use kubeconfig::{KubeconfigProblem, KubeletKubeconfig, Material, common_name};
pub use phase::{Phase, backoff};

/// The unit that runs `windlass join` at every boot.
pub const UNIT: &str = include_str!("join/windlass-join.service");
