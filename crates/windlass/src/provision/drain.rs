//! Instances that go: their nodes are drained first.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use windlass_aws_client::Client;
use windlass_aws_client::autoscaling::{AutoScalingGroup, Capacity};
use windlass_kube::{ConnectOptions, connect};

use super::advised;
use super::nodes::Nodes;
use crate::interrupts::Interrupts;
use crate::{duration, output};

/// Arguments of the commands that drain nodes.
#[derive(Args)]
pub(super) struct DrainArgs {
    /// Path of a kubeconfig; without it the pod's own service account is used.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<String>,
    /// How long the pods of a node may take to leave it.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration::parse)]
    drain_timeout: Duration,
}

impl DrainArgs {
    /// The nodes of the cluster. With `force` pods are ended too that nobody makes again, and those
    /// that are not safe to evict.
    pub(super) async fn nodes(&self, force: bool) -> anyhow::Result<Nodes> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let options = ConnectOptions {
            kubeconfig: self.kubeconfig.clone(),
            kubernetes: None,
            queries_per_second: 20.0,
            burst: 40,
        };
        Ok(Nodes::new(connect(&options).await?, force))
    }
}

/// An Auto Scaling group as it is now.
pub(super) async fn group(client: &Client, name: &str) -> anyhow::Result<Option<AutoScalingGroup>> {
    let names = [name.to_owned()];
    let found = client.autoscaling().describe_groups_by_name(&names).await;
    Ok(found.map_err(advised)?.into_iter().next())
}

/// Ends instances, each once its node is drained. From its making on an interrupt ends the program
/// only where it is looked for: in [`Self::end`] and [`Self::unless_interrupted`].
pub(super) struct Drainer<'a> {
    client: &'a Client,
    nodes: &'a Nodes,
    timeout: Duration,
    interrupts: Interrupts,
}

impl<'a> Drainer<'a> {
    pub(super) fn new(
        client: &'a Client,
        nodes: &'a Nodes,
        args: &DrainArgs,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            client,
            nodes,
            timeout: args.drain_timeout,
            interrupts: Interrupts::listen()?,
        })
    }

    /// Does something that may be given up at any moment.
    pub(super) async fn unless_interrupted<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            done = work => done,
            () = self.interrupts.reach(1) => Err(anyhow::anyhow!("interrupted")),
        }
    }

    /// Drains an instance's node and ends the instance, and gives the node's name if it is one.
    /// Whatever goes wrong, the node is as it was before.
    pub(super) async fn end(&self, instance: &str) -> anyhow::Result<Option<String>> {
        let Some(node) = self.nodes.of_instance(instance).await? else {
            output::talk(&format!("{instance} is no node: it is ended as it is"));
            self.terminate(instance).await?;
            return Ok(None);
        };
        let reserved = self.nodes.reserve(&node).await?;
        let drained = self.nodes.drain(&node, self.timeout);
        let ended = match self.unless_interrupted(drained).await {
            Ok(()) => self.terminate(instance).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            self.nodes.give_back(&reserved).await?;
            return Err(error).with_context(|| format!("`{node}` ({instance}) is not ended"));
        }
        Ok(Some(node))
    }

    async fn terminate(&self, instance: &str) -> anyhow::Result<()> {
        let autoscaling = self.client.autoscaling();
        let ended = autoscaling.terminate_instance(instance, Capacity::Decrement);
        ended.await.map_err(advised)
    }
}
