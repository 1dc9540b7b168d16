//! What AWS is asked for when it is to replace a group's instances itself, and what it says of it.
//! Pure.

use windlass_aws_client::autoscaling::{
    AutoScalingGroup, InstanceRefresh, LaunchTemplateOverride, LaunchTemplateSpecification,
    LifecycleHook, MixedInstances, MixedInstancesPolicy, RefreshSpecification,
};

/// The transition on which something can drain a node before AWS ends it.
const TERMINATING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";
/// Least share of healthy instances meanwhile, in percent of what the group wants.
const MIN_HEALTHY_PERCENTAGE: u32 = 90;
/// Greatest share: so much more may run for a while.
const MAX_HEALTHY_PERCENTAGE: u32 = 110;

/// A group whose instances AWS is not to replace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing could drain the nodes.
    #[error(
        "it has no lifecycle hook for ending instances (autoscaling:EC2_INSTANCE_TERMINATING): AWS \
         does not drain Kubernetes nodes, so their pods would be killed; leave out --strategy and the \
         nodes are drained here, or add such a hook and something that drains the node before it \
         completes the hook"
    )]
    NoHook,
    /// It has no launch template of a name.
    #[error("it has no launch template: move it with `windlass provision migrate`")]
    NoTemplate,
    /// It is of whatever version is the newest, so there is none to go back to.
    #[error(
        "it has version `{version}` of its template, and AWS goes back to a number alone: `windlass \
         provision apply` pins it to one"
    )]
    NotPinned {
        /// The version.
        version: String,
    },
    /// A policy says more than Windlass does.
    #[error(
        "its mixed-instances policy has weights, attributes or templates for single types, which the \
         refresh would take from it: leave out --strategy"
    )]
    Policy,
}

/// What a refresh of a group is to bring about: what its next instance would be of.
///
/// # Errors
///
/// For a group that is not to be refreshed.
pub fn specification(
    group: &AutoScalingGroup,
    hooks: &[LifecycleHook],
) -> Result<RefreshSpecification, Refused> {
    if !hooks.iter().any(|hook| hook.transition == TERMINATING) {
        return Err(Refused::NoHook);
    }
    let policy = group.mixed_instances_policy.as_ref();
    let template = policy.map(|policy| &policy.launch_template);
    let template = template.or(group.launch_template.as_ref());
    let Some(LaunchTemplateSpecification {
        name: Some(name),
        version,
        ..
    }) = template
    else {
        return Err(Refused::NoTemplate);
    };
    let version = version.as_deref().unwrap_or("$Default");
    if version.parse::<u64>().is_err() {
        return Err(Refused::NotPinned {
            version: version.to_owned(),
        });
    }
    Ok(RefreshSpecification {
        launch_template: (name.clone(), version.to_owned()),
        mixed_instances: policy.map(mixed_instances).transpose()?,
        min_healthy_percentage: MIN_HEALTHY_PERCENTAGE,
        max_healthy_percentage: MAX_HEALTHY_PERCENTAGE,
    })
}

/// The policy as it is: left out, the refresh would take it from the group.
fn mixed_instances(policy: &MixedInstancesPolicy) -> Result<MixedInstances, Refused> {
    let types = policy.overrides.iter().map(|one| match one {
        LaunchTemplateOverride {
            instance_type: Some(instance_type),
            weighted_capacity: None,
            launch_template_specification: None,
            instance_requirements: None,
        } => Ok(instance_type.clone()),
        _ => Err(Refused::Policy),
    });
    let distribution = &policy.distribution;
    let strategy = distribution.spot_allocation_strategy.clone();
    Ok(MixedInstances {
        types: types.collect::<Result<_, _>>()?,
        on_demand_base: distribution.on_demand_base_capacity,
        on_demand_percentage: distribution.on_demand_percentage_above_base_capacity,
        spot_allocation_strategy: strategy.ok_or(Refused::Policy)?,
    })
}

/// How far a refresh is, in a line.
pub fn progress(refresh: &InstanceRefresh) -> String {
    let InstanceRefresh {
        status,
        status_reason,
        percentage_complete,
        instances_to_update,
        ..
    } = refresh;
    let done = percentage_complete.unwrap_or(0);
    let left = instances_to_update.map_or_else(String::new, |left| format!(", {left} left"));
    let why = status_reason.as_deref().map(|why| format!(": {why}"));
    format!("{status}: {done} %{left}{}", why.unwrap_or_default())
}

/// A refresh that is over and has not replaced all instances.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the instance refresh ended as {status}: {reason}; {}", .consequence
)]
pub struct Ended {
    /// AWS's word for how.
    pub status: String,
    /// AWS's words for why.
    pub reason: String,
    /// What that means for the instances.
    pub consequence: &'static str,
}

/// How a refresh that is over has ended.
///
/// # Errors
///
/// Where it was not successful.
pub fn outcome(refresh: &InstanceRefresh) -> Result<(), Ended> {
    let consequence = match refresh.status.as_str() {
        "Successful" => return Ok(()),
        "RollbackSuccessful" => {
            "AWS has taken the group back to the template's version that it had when the refresh began"
        }
        "Failed" | "Cancelled" => {
            "instances that are replaced already stay so, and the next run goes on from there"
        }
        _ => "look at the group's activities and instances before the next run",
    };
    let reason = refresh.status_reason.as_deref();
    Err(Ended {
        status: refresh.status.clone(),
        reason: reason.unwrap_or("AWS says no reason").to_owned(),
        consequence,
    })
}

#[cfg(test)]
mod tests {
    use windlass_aws_client::autoscaling::InstancesDistribution;

    use super::*;

    fn template(version: &str) -> LaunchTemplateSpecification {
        LaunchTemplateSpecification {
            name: Some("prod-web".to_owned()),
            version: Some(version.to_owned()),
            ..LaunchTemplateSpecification::default()
        }
    }

    fn of_template(version: &str) -> AutoScalingGroup {
        AutoScalingGroup {
            launch_template: Some(template(version)),
            ..AutoScalingGroup::default()
        }
    }

    fn of_types(overrides: Vec<LaunchTemplateOverride>) -> AutoScalingGroup {
        let policy = MixedInstancesPolicy {
            launch_template: template("4"),
            overrides,
            distribution: InstancesDistribution {
                on_demand_base_capacity: 1,
                on_demand_percentage_above_base_capacity: 30,
                spot_allocation_strategy: Some("price-capacity-optimized".to_owned()),
            },
        };
        AutoScalingGroup {
            mixed_instances_policy: Some(policy),
            ..AutoScalingGroup::default()
        }
    }

    fn instance_type(name: &str) -> LaunchTemplateOverride {
        LaunchTemplateOverride {
            instance_type: Some(name.to_owned()),
            ..LaunchTemplateOverride::default()
        }
    }

    fn hook(transition: &str) -> LifecycleHook {
        LifecycleHook {
            transition: transition.to_owned(),
            ..LifecycleHook::default()
        }
    }

    fn of(group: &AutoScalingGroup) -> Result<RefreshSpecification, Refused> {
        specification(group, &[hook(TERMINATING)])
    }

    #[test]
    fn a_refresh_is_to_the_version_that_the_group_is_pinned_to() {
        let wanted = of(&of_template("3")).unwrap();
        let template = ("prod-web".to_owned(), "3".to_owned());
        assert_eq!(wanted.launch_template, template);
        assert_eq!(wanted.mixed_instances, None);
        let types = vec![instance_type("m5.large"), instance_type("m5a.large")];
        let mixed = of(&of_types(types)).unwrap().mixed_instances.unwrap();
        assert_eq!(mixed.types, ["m5.large", "m5a.large"]);
        assert_eq!((mixed.on_demand_base, mixed.on_demand_percentage), (1, 30));
    }

    #[test]
    fn what_would_be_lost_refuses_it() {
        let launching = hook("autoscaling:EC2_INSTANCE_LAUNCHING");
        let refused = specification(&of_template("3"), &[launching]);
        assert_eq!(refused, Err(Refused::NoHook));
        assert_eq!(of(&AutoScalingGroup::default()), Err(Refused::NoTemplate));
        let newest = of(&of_template("$Latest")).unwrap_err();
        assert!(newest.to_string().contains("`$Latest`"), "{newest}");
        let weighted = LaunchTemplateOverride {
            weighted_capacity: Some("2".to_owned()),
            ..instance_type("m5.large")
        };
        assert_eq!(of(&of_types(vec![weighted])), Err(Refused::Policy));
    }

    fn refresh(status: &str, reason: Option<&str>) -> InstanceRefresh {
        InstanceRefresh {
            id: "r-1".to_owned(),
            status: status.to_owned(),
            status_reason: reason.map(str::to_owned),
            percentage_complete: Some(40),
            instances_to_update: Some(3),
        }
    }

    #[test]
    fn it_is_told_how_far_it_is_and_how_it_ended() {
        let waiting = refresh("InProgress", Some("Waiting for 1 instance."));
        let line = "InProgress: 40 %, 3 left: Waiting for 1 instance.";
        assert_eq!(progress(&waiting), line);
        assert_eq!(outcome(&refresh("Successful", None)), Ok(()));
        for (status, part) in [
            ("Failed", "go"),
            ("Cancelled", "stay so"),
            ("RollbackSuccessful", "taken the group back"),
            ("RollbackFailed", "look at"),
        ] {
            let ended = outcome(&refresh(status, Some("Too many failures.")));
            let text = ended.unwrap_err().to_string();
            let reason = format!("{status}: Too many failures.");
            assert!(text.contains(&reason) && text.contains(part), "{text}");
        }
    }
}
