//! The end of a build: nothing of it is left besides its image.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_aws_client::{CallError, Client};

use super::build::{BUILD_TAG, SETTLE_TIMEOUT};
use super::report;
use crate::patience::until_taken;

/// What becomes of the image of a build that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stays.
    Keep,
    /// What there is of it goes.
    Discard,
    /// It goes unless it is whole: somebody may use it already.
    DiscardUnlessWhole,
}

/// Removes all that a build has made besides its image, and that too if it came to nothing. Safe to
/// do again. Gives what could not be removed, each with why.
pub async fn clean_up(
    client: &Client,
    build: &str,
    outcome: Outcome,
    poll: Duration,
) -> Vec<String> {
    let mut left = Vec::new();
    let mut note = |what: &str, result: Result<(), CallError>| {
        if let Err(error) = result {
            left.push(format!("{what}: {error}"));
        }
    };
    note("instance", instances_gone(client, build, poll).await);
    if outcome != Outcome::Keep {
        note("image", image_gone(client, build, outcome).await);
    }
    let parameter = report::parameter(build);
    let deleted = client.ssm().delete_parameter(&parameter).await;
    note("parameter", deleted.map(|_| ()));
    // Last, and only then, since what is left of a build is found again by it.
    if left.is_empty()
        && let Err(error) = groups_gone(client, build, poll).await
    {
        left.push(format!("security group: {error}"));
    }
    left
}

async fn instances_gone(client: &Client, build: &str, poll: Duration) -> Result<(), CallError> {
    let ec2 = client.ec2();
    let filter = format!("tag:{BUILD_TAG}");
    let begun = Instant::now();
    loop {
        let found = ec2.describe_instances(&filter, build).await?;
        let alive = found.iter().filter(|it| it.state() != "terminated");
        let mut are_gone = true;
        for instance in alive {
            are_gone = false;
            if instance.state() != "shutting-down" {
                ec2.terminate_instance(&instance.id).await?;
            }
        }
        if are_gone || SETTLE_TIMEOUT < begun.elapsed() {
            return Ok(());
        }
        sleep(poll).await;
    }
}

async fn groups_gone(client: &Client, build: &str, poll: Duration) -> Result<(), CallError> {
    let ec2 = client.ec2();
    let begun = Instant::now();
    let filter = format!("tag:{BUILD_TAG}");
    for group in ec2.security_groups(&filter, build).await? {
        // The interface of an ended instance lingers.
        let is_in_use = |error: &CallError| error.code() == Some("DependencyViolation");
        let patience = SETTLE_TIMEOUT.saturating_sub(begun.elapsed());
        let delete = || ec2.delete_security_group(&group.id);
        until_taken(patience, poll, is_in_use, delete).await?;
    }
    Ok(())
}

async fn image_gone(client: &Client, build: &str, outcome: Outcome) -> Result<(), CallError> {
    let ec2 = client.ec2();
    for image in ec2.own_images_by_tag(BUILD_TAG, build).await? {
        if outcome == Outcome::DiscardUnlessWhole && image.state == "available" {
            continue;
        }
        ec2.deregister_image(&image.id).await?;
        for snapshot in image.snapshots() {
            ec2.delete_snapshot(snapshot).await?;
        }
    }
    Ok(())
}
