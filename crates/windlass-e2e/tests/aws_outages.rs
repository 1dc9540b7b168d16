//! AWS is in trouble for a minute: what is known stays, nothing is removed by it, one line says
//! so, and all goes on when the trouble is over.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use windlass_e2e::{Run, SpareNode};
use windlass_testbed::proxy::{Act, Matcher};
use windlass_testbed::{Group, Workload};

const OUTAGE: Duration = Duration::from_mins(1);
const SOON: Duration = Duration::from_secs(90);
/// Groups are listed once a minute.
const LISTED: Duration = Duration::from_secs(90);
/// Most calls within the outage: two a second, retries included, is no storm.
const MOST_CALLS: usize = 120;

/// Nothing is removed while AWS answers everything like this, and a pod that needs a node gets it
/// afterwards.
fn is_survived(answer: Act) -> Result<()> {
    let spare = SpareNode::start()?;
    spare.aws.forget_requests();
    spare.aws.on(Matcher::all(), answer);
    spare.deploy_late()?;
    spare.nothing_goes(OUTAGE)?;
    let calls = spare.aws.requests().len();
    eprintln!("{calls} calls to AWS within the outage");
    ensure!(0 < calls && calls <= MOST_CALLS, "{calls} calls to AWS");
    spare
        .windlass
        .wait_for_log("cannot refresh the node groups: the last view stays", SOON)?;
    ensure!(
        spare.windlass.is_healthy(),
        "trouble of AWS is none of the process"
    );
    spare.aws.pass_all();
    spare
        .windlass
        .wait_for_log("the view of the node groups is current again", LISTED)?;
    spare.recovers()
}

#[test]
fn aws_answers_errors_for_a_minute() -> Result<()> {
    is_survived(Act::aws_error(500, "InternalFailure"))
}

#[test]
fn aws_throttles_for_a_minute() -> Result<()> {
    is_survived(Act::aws_error(400, "Throttling"))
}

/// What AWS answers where no group has the tags.
fn no_groups() -> Act {
    let body = "<DescribeAutoScalingGroupsResponse \
                xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\">\
                <DescribeAutoScalingGroupsResult><AutoScalingGroups/>\
                </DescribeAutoScalingGroupsResult>\
                <ResponseMetadata><RequestId>testbed</RequestId></ResponseMetadata>\
                </DescribeAutoScalingGroupsResponse>";
    Act::Answer {
        status: 200,
        content_type: "text/xml".to_owned(),
        body: body.to_owned(),
    }
}

#[test]
fn aws_lists_no_group_for_a_minute_where_there_were_some() -> Result<()> {
    let spare = SpareNode::start()?;
    let began = Instant::now();
    let list = Matcher::action("DescribeAutoScalingGroups");
    spare.aws.on(list, no_groups());
    spare.windlass.wait_for_log(
        "AWS lists none, or not half, of the node groups that it had listed: they are kept",
        LISTED,
    )?;
    spare.nothing_goes(OUTAGE.saturating_sub(began.elapsed()))?;
    spare.aws.pass_all();
    spare.deploy_late()?;
    spare.recovers()
}

#[test]
fn there_is_no_group_at_first() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let mut windlass = Run::of_cluster("demo").start(testbed, "windlass")?;
    windlass.wait_for_log(
        "AWS lists no node group, so there is nothing to scale: has one all the tags",
        SOON,
    )?;
    let group = Group::new("web").sizes(1, 10, 1).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    let web = Workload::new("web", 2).requests("1500m", "64Mi");
    testbed.cluster().deploy(&web)?;
    testbed
        .cluster()
        .wait_until_all_run("default", "web", 2, LISTED + SOON)?;
    windlass.check_for_panics()?;
    ensure!(
        windlass.process().stop().success(),
        "SIGTERM is a clean end"
    );
    Ok(())
}
