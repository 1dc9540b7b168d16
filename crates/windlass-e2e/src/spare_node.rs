use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use windlass_testbed::proxy::Matcher;
use windlass_testbed::{Group, Proxy, Testbed, Workload, stays, wait_for};

use crate::{Run, Windlass};

/// A few boots, decisions and calls on a busy machine.
const SOON: Duration = Duration::from_secs(90);
/// From the end of a trouble to its last trace: AWS is asked again after pauses that grow to
/// most of a minute.
const RECOVERED: Duration = Duration::from_secs(150);
/// How long the node must be unneeded: over while a trouble of a minute lasts, and longer than a
/// view may be old ([`FLAGS`]).
const UNNEEDED: &str = "--scale-down-unneeded-time=40s";
const FLAGS: [&str; 6] = [
    UNNEEDED,
    "--max-cache-age=30s",
    "--scan-interval=2s",
    "--scale-down-delay-after-add=0s",
    "--node-delete-delay-after-taint=1s",
    "--initial-node-group-backoff-duration=5s",
];

/// A cluster of two nodes, of which one has just become unneeded, and a Windlass that will remove
/// it 40 s later, if it sees what it does.
#[derive(Debug)]
pub struct SpareNode {
    /// The test bed.
    pub testbed: &'static Testbed,
    /// Windlass, through the two proxies.
    pub windlass: Windlass,
    /// Before the API server.
    pub api_server: Proxy,
    /// Before AWS.
    pub aws: Proxy,
}

impl SpareNode {
    /// Starts it all, and returns as soon as Windlass knows that the node is unneeded.
    pub fn start() -> Result<Self> {
        let testbed = crate::testbed()?;
        let group = Group::new("web").sizes(1, 10, 2).discovered_by("demo");
        testbed.aws().create_group(&group)?;
        let mut late = Group::new("late").sizes(0, 10, 0).discovered_by("demo");
        LATE_ZONE.clone_into(&mut late.zone);
        testbed.aws().create_group(&late)?;
        let cluster = testbed.cluster();
        cluster.wait_for_ready_nodes(2, SOON)?;
        // Each fills a node, and one of them may not be moved.
        let mut keeper = Workload::new("keeper", 1).requests("1500m", "64Mi");
        let unsafe_to_evict = "cluster-autoscaler.kubernetes.io/safe-to-evict";
        keeper.annotations = vec![(unsafe_to_evict.to_owned(), "false".to_owned())];
        cluster.deploy(&keeper)?;
        cluster.deploy(&Workload::new("guest", 1).requests("1500m", "64Mi"))?;
        for name in ["keeper", "guest"] {
            cluster.wait_until_all_run("default", name, 1, SOON)?;
        }
        let (api_server, aws) = (testbed.proxy_api_server()?, testbed.proxy_aws()?);
        let windlass = Run::of_cluster("demo")
            .flags(FLAGS)
            .api_server_through(testbed, &api_server)?
            .aws_through(&aws)
            .start(testbed, "windlass")?;
        windlass.wait_for_log("decided", SOON)?;
        cluster.delete_deployment("default", "guest")?;
        wait_for("an unneeded node", SOON, || {
            let unneeded = windlass.sample("cluster_autoscaler_unneeded_nodes_count")?;
            Ok((unneeded - 1.0).abs() < f64::EPSILON)
        })?;
        Ok(Self {
            testbed,
            windlass,
            api_server,
            aws,
        })
    }

    /// Deploys a pod that only a new node can take.
    pub fn deploy_late(&self) -> Result<()> {
        let zone = json!({"nodeSelector": {"topology.kubernetes.io/zone": LATE_ZONE}});
        let late = Workload::new("late", 1).pod_spec(zone);
        self.testbed.cluster().deploy(&late)
    }

    /// For the whole of `time` no node goes, and nobody asks for that: neither is one marked
    /// (which takes the API server), nor an instance terminated.
    pub fn nothing_goes(&self, time: Duration) -> Result<()> {
        stays("nothing is removed", time, || {
            Ok(self.testbed.aws().group("web")?.instances.len() == 2
                && self.removals_asked_for() == 0)
        })
    }

    fn removals_asked_for(&self) -> usize {
        let terminate = Matcher::action("TerminateInstanceInAutoScalingGroup");
        let mark = Matcher::method("PUT", "/api/v1/nodes/").body_contains(TAINT);
        self.aws.requests_matching(&terminate).len()
            + self.api_server.requests_matching(&mark).len()
    }

    /// The trouble is over: the node goes, a new node comes for the pod that waits, and it is
    /// still the same process, which has not panicked.
    pub fn recovers(mut self) -> Result<()> {
        let cluster = self.testbed.cluster();
        wait_for("the unneeded node to go", RECOVERED, || {
            Ok(self.testbed.aws().group("web")?.instances.len() == 1)
        })?;
        cluster.wait_until_all_run("default", "late", 1, RECOVERED)?;
        self.windlass.check_for_panics()?;
        ensure!(self.windlass.is_healthy(), "it counts as dead");
        let ended = self.windlass.process().exit_status();
        ensure!(ended.is_none(), "it has ended: {ended:?}");
        let kept = cluster.pods_of("default", "keeper")?;
        let kept = kept.first().context("the other pod is there")?;
        ensure!(
            kept.metadata.deletion_timestamp.is_none(),
            "another's pod is ending"
        );
        ensure!(self.windlass.process().stop().success());
        Ok(())
    }
}

/// No instance of the group `web` is in this zone.
const LATE_ZONE: &str = "us-east-1b";
const TAINT: &str = "ToBeDeletedByClusterAutoscaler";
