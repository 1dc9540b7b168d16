//! How an instance becomes a node: what `windlass join` is told, and what follows for kubeadm.
//!
//! No clock and no I/O here: the binary reads files, asks the metadata service and runs kubeadm.

mod commands;
mod config;
mod disks;
mod identity;
mod kubeadm;
mod kubeconfig;
mod phase;
mod promises;

pub use commands::CommandConfig;
pub use config::{
    CloudProviderSetting, HookConfig, LabelsFrom, NodeConfig, NodeConfigError, NodeNameRule,
    OnFailureSetting, Reserved, TaintConfig,
};
pub use disks::{DISKS_LABEL, DISKS_MOUNT, LocalDisks, MOVED_TO_DISKS, Place, mount_units};
pub use identity::{Identity, IdentityError, Metadata};
pub use kubeadm::{
    Discovery, SkewError, check_skew, discovery_kubeconfig, join_configuration, reserve,
};
pub use kubeconfig::{KubeconfigProblem, KubeletKubeconfig, Material, common_name};
pub use phase::{Phase, backoff};
pub use promises::{Promises, promises};

/// The unit that runs `windlass join` at every boot.
pub const UNIT: &str = include_str!("join/windlass-join.service");
