//! The API server is in trouble for a minute: nothing is removed by an old view, one line says
//! so, and all goes on when the trouble is over.

use std::time::Duration;

use anyhow::Result;
use windlass_e2e::{Run, SpareNode};
use windlass_testbed::proxy::{Act, Matcher};
use windlass_testbed::{Group, Part, Workload};

const OUTAGE: Duration = Duration::from_mins(1);
const SOON: Duration = Duration::from_secs(90);
const INTERRUPTED: &str = "the view of the cluster is interrupted";
const CURRENT: &str = "the view of the cluster is current again";

#[test]
fn the_api_server_is_gone_for_a_minute() -> Result<()> {
    let spare = SpareNode::start()?;
    spare.testbed.stop(Part::ApiServer);
    spare.nothing_goes(OUTAGE)?;
    spare.windlass.wait_for_log(INTERRUPTED, SOON)?;
    spare.testbed.restart(Part::ApiServer)?;
    spare.windlass.wait_for_log(CURRENT, SOON)?;
    spare.deploy_late()?;
    spare.recovers()
}

/// The dangerous half of an outage: whoever can still write could still remove.
#[test]
fn nothing_can_be_read_for_a_minute_and_everything_written() -> Result<()> {
    let spare = SpareNode::start()?;
    let reads =
        Matcher::new(|request| request.method == "GET" && !request.path.contains("/leases"));
    spare
        .api_server
        .on(reads, Act::kubernetes_error(503, "ServiceUnavailable"));
    spare.api_server.cut_connections();
    spare.nothing_goes(OUTAGE)?;
    spare.windlass.wait_for_log(INTERRUPTED, SOON)?;
    spare.api_server.pass_all();
    spare.windlass.wait_for_log(CURRENT, SOON)?;
    spare.deploy_late()?;
    spare.recovers()
}

#[test]
fn the_api_server_forbids_everything_at_first() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let group = Group::new("web").sizes(1, 10, 1).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    let cluster = testbed.cluster();
    cluster.wait_for_ready_nodes(1, SOON)?;
    let run = Run::of_cluster("demo").without_rights();
    let windlass = run.start(testbed, "windlass")?;
    windlass.wait_for_log("may not list and watch: see the ClusterRole", SOON)?;
    windlass.check_for_panics()?;
    run.grant_rights(testbed, "windlass")?;
    let web = Workload::new("web", 2).requests("1500m", "64Mi");
    cluster.deploy(&web)?;
    cluster.wait_until_all_run("default", "web", 2, 2 * SOON)?;
    windlass.check_for_panics()
}
