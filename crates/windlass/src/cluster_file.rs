//! The configuration file of the cluster, as commands take it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use windlass_provision::cluster_config::ClusterConfig;

/// Where the cluster's configuration is.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConfigArgs {
    /// The cluster's configuration file (`kind: Cluster`; see examples/cluster.yaml).
    #[arg(
        long,
        value_name = "FILE",
        env = "WINDLASS_CONFIG",
        default_value = "cluster.yaml"
    )]
    config: PathBuf,
}

impl ConfigArgs {
    /// Reads and checks it.
    pub(crate) fn read(&self) -> anyhow::Result<ClusterConfig> {
        read(&self.config)
    }
}

/// Reads and checks a configuration file.
pub(crate) fn read(path: &Path) -> anyhow::Result<ClusterConfig> {
    let file = path.display().to_string();
    let text = fs::read_to_string(path)
        .with_context(|| format!("read `{file}` (name it with --config)"))?;
    Ok(ClusterConfig::read(&file, &text)?)
}
