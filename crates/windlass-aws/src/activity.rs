//! What a group's scaling activities say of the instances that do not come. Pure.

use jiff::Timestamp;
use windlass_aws_client::autoscaling::ScalingActivity;
use windlass_model::CreationErrorClass;

/// Why a group's launches fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchFailure {
    /// What kind of trouble.
    pub cause: FailureCause,
    /// AWS's words.
    pub message: String,
    /// When the failed launch began, by AWS's clock.
    pub at: Timestamp,
}

/// Kinds of launch trouble that are to be met differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureCause {
    /// AWS has no such machine now.
    InsufficientCapacity,
    /// The account may not have more.
    QuotaExceeded,
    /// The subnet has no address left.
    NoFreeAddresses,
    /// The highest price offered is below the spot price.
    SpotPrice,
    /// The group's launch template, image, key, role or the like is wrong: trying again does not
    /// help before somebody changes it.
    GroupMisconfigured,
    /// Anything else.
    LaunchFailed,
}

impl FailureCause {
    /// The code in events, metrics and reports.
    pub fn code(self) -> &'static str {
        match self {
            Self::InsufficientCapacity => "insufficient-capacity",
            Self::QuotaExceeded => "quota-exceeded",
            Self::NoFreeAddresses => "no-free-addresses",
            Self::SpotPrice => "spot-price",
            Self::GroupMisconfigured => "group-misconfigured",
            Self::LaunchFailed => "launch-failed",
        }
    }

    /// The class that the core reports it under.
    pub fn class(self) -> CreationErrorClass {
        match self {
            Self::InsufficientCapacity
            | Self::QuotaExceeded
            | Self::NoFreeAddresses
            | Self::SpotPrice => CreationErrorClass::OutOfResource,
            Self::GroupMisconfigured | Self::LaunchFailed => CreationErrorClass::Other,
        }
    }

    /// Reads the cause out of AWS's words or code.
    pub fn of(message: &str) -> Self {
        let message = message.to_lowercase();
        TELLTALES
            .iter()
            .find(|(words, _)| words.iter().all(|word| message.contains(word)))
            .map_or(Self::LaunchFailed, |(_, cause)| *cause)
    }
}

/// Words that together tell a cause, in lower case; the first row that fits counts.
const TELLTALES: &[(&[&str], FailureCause)] = &[
    (
        &["insufficientfreeaddressesinsubnet"],
        FailureCause::NoFreeAddresses,
    ),
    (&["free addresses", "subnet"], FailureCause::NoFreeAddresses),
    (&["spotmaxpricetoolow"], FailureCause::SpotPrice),
    (
        &["lower than the minimum required", "price"],
        FailureCause::SpotPrice,
    ),
    (&["vcpulimitexceeded"], FailureCause::QuotaExceeded),
    (&["vcpu limit"], FailureCause::QuotaExceeded),
    (&["vcpu capacity", "limit"], FailureCause::QuotaExceeded),
    (&["instancelimitexceeded"], FailureCause::QuotaExceeded),
    (&["current instance limit"], FailureCause::QuotaExceeded),
    (
        &["maxspotinstancecountexceeded"],
        FailureCause::QuotaExceeded,
    ),
    (
        &["max spot instance count exceeded"],
        FailureCause::QuotaExceeded,
    ),
    (&["volumelimitexceeded"], FailureCause::QuotaExceeded),
    (
        &["insufficientinstancecapacity"],
        FailureCause::InsufficientCapacity,
    ),
    (
        &["insufficienthostcapacity"],
        FailureCause::InsufficientCapacity,
    ),
    (
        &["insufficientreservedinstancecapacity"],
        FailureCause::InsufficientCapacity,
    ),
    (
        &["unfulfillablecapacity"],
        FailureCause::InsufficientCapacity,
    ),
    (
        &["do not have sufficient", "capacity"],
        FailureCause::InsufficientCapacity,
    ),
    (
        &["could not launch", "insufficient", "capacity"],
        FailureCause::InsufficientCapacity,
    ),
    (
        &["no spot capacity available"],
        FailureCause::InsufficientCapacity,
    ),
    (&["unauthorizedoperation"], FailureCause::GroupMisconfigured),
    (&["not authorized"], FailureCause::GroupMisconfigured),
    (&["authfailure"], FailureCause::GroupMisconfigured),
    (&["client.internalerror"], FailureCause::GroupMisconfigured),
    (&["invalidkmskey"], FailureCause::GroupMisconfigured),
    (
        &["launch template", "not"],
        FailureCause::GroupMisconfigured,
    ),
    (
        &["launch template", "invalid"],
        FailureCause::GroupMisconfigured,
    ),
    (&["invalidlaunchtemplate"], FailureCause::GroupMisconfigured),
    (&["ami", "not exist"], FailureCause::GroupMisconfigured),
    (&["invalidamiid"], FailureCause::GroupMisconfigured),
    (&["image id", "not exist"], FailureCause::GroupMisconfigured),
    (
        &["security group", "not exist"],
        FailureCause::GroupMisconfigured,
    ),
    (&["invalidgroup.notfound"], FailureCause::GroupMisconfigured),
    (&["key pair", "not exist"], FailureCause::GroupMisconfigured),
    (
        &["instance profile", "invalid"],
        FailureCause::GroupMisconfigured,
    ),
    (
        &["invalid iaminstanceprofile"],
        FailureCause::GroupMisconfigured,
    ),
];

/// Whether the instances that a group still lacks are not coming, by its activities since the
/// request: a launch failed, and none has begun since that succeeded or is under way. A group of
/// several zones or types that fails in one and goes on in another has not failed (that mistake
/// cost users healthy nodes).
///
/// Only launches count: a failed termination says nothing about capacity. An activity that began
/// in the very moment of the request belongs to it.
pub fn launch_failure(activities: &[ScalingActivity], since: Timestamp) -> Option<LaunchFailure> {
    let launches: Vec<&ScalingActivity> = activities
        .iter()
        .filter(|activity| since <= activity.start_time && is_launch(activity))
        .collect();
    let failed = launches
        .iter()
        .filter(|activity| is_failed(activity))
        .max_by_key(|activity| activity.start_time)?;
    let goes_on = launches
        .iter()
        .any(|activity| failed.start_time < activity.start_time && !is_failed(activity));
    if goes_on {
        return None;
    }
    Some(LaunchFailure {
        cause: FailureCause::of(&failed.status_message),
        message: failed.status_message.clone(),
        at: failed.start_time,
    })
}

/// Whether a launch is under way that began after `since`: then nobody knows yet how many
/// instances there will be.
pub fn is_launching(activities: &[ScalingActivity], since: Timestamp) -> bool {
    activities.iter().any(|activity| {
        since <= activity.start_time
            && is_launch(activity)
            && !is_failed(activity)
            && activity.status_code != "Successful"
    })
}

fn is_launch(activity: &ScalingActivity) -> bool {
    // AWS words it "Launching a new EC2 instance: i-…"; a warm pool's is "Launching a new EC2
    // instance into warm pool", which does not bring a node.
    activity
        .description
        .starts_with("Launching a new EC2 instance")
        && !activity.description.contains("into warm pool")
}

fn is_failed(activity: &ScalingActivity) -> bool {
    matches!(activity.status_code.as_str(), "Failed" | "Cancelled")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn activity(second: i64, status: &str, description: &str) -> ScalingActivity {
        ScalingActivity {
            activity_id: format!("a-{second}"),
            description: description.to_owned(),
            cause: String::new(),
            start_time: at(second),
            end_time: None,
            status_code: status.to_owned(),
            status_message: if status == "Failed" {
                "We currently do not have sufficient m5.large capacity in the Availability Zone \
                 you requested (us-east-1a)."
                    .to_owned()
            } else {
                String::new()
            },
            details: String::new(),
        }
    }

    const LAUNCH: &str = "Launching a new EC2 instance";

    /// Point 7 of the acceptance checklist, as far as activities decide.
    #[test]
    fn checklist_07_which_activities_condemn_a_request() {
        let failed = |activities: &[ScalingActivity]| launch_failure(activities, at(100)).is_some();
        assert!(failed(&[activity(101, "Failed", LAUNCH)]), "newer");
        assert!(failed(&[activity(100, "Failed", LAUNCH)]), "equal");
        assert!(!failed(&[activity(99, "Failed", LAUNCH)]), "older");
        assert!(!failed(&[]), "none");
        assert!(
            !failed(&[activity(101, "Failed", "Terminating EC2 instance: i-1")]),
            "no launch"
        );
        assert!(
            !failed(&[
                activity(102, "Successful", LAUNCH),
                activity(101, "Failed", LAUNCH)
            ]),
            "another zone worked"
        );
        assert!(
            !failed(&[
                activity(102, "InProgress", LAUNCH),
                activity(101, "Failed", LAUNCH)
            ]),
            "another zone is being tried"
        );
        assert!(
            failed(&[
                activity(103, "Failed", LAUNCH),
                activity(102, "Successful", LAUNCH)
            ]),
            "and then failed"
        );
    }

    #[test]
    fn causes_are_read_from_the_message() {
        for (message, cause) in [
            (
                "We currently do not have sufficient p4d.24xlarge capacity in the zones",
                FailureCause::InsufficientCapacity,
            ),
            (
                "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity",
                FailureCause::InsufficientCapacity,
            ),
            (
                "You have requested more vCPU capacity than your current vCPU limit of 32 allows",
                FailureCause::QuotaExceeded,
            ),
            (
                "Could not launch Spot Instances. MaxSpotInstanceCountExceeded - Max spot instance count exceeded",
                FailureCause::QuotaExceeded,
            ),
            (
                "InsufficientFreeAddressesInSubnet: not enough free addresses in subnet-1",
                FailureCause::NoFreeAddresses,
            ),
            (
                "Client.InternalError: Client error on launch",
                FailureCause::GroupMisconfigured,
            ),
            (
                "The specified launch template, with template ID lt-1, does not exist.",
                FailureCause::GroupMisconfigured,
            ),
            ("Something else", FailureCause::LaunchFailed),
        ] {
            assert_eq!(FailureCause::of(message), cause, "{message}");
        }
    }
}
