//! What to do about an error of AWS.

use windlass_aws_client::{CallError, ErrorClass};

use crate::iam::{self, Actor, Feature};

/// What to do about a call of an actor's that failed, in a sentence.
pub fn advice(error: &CallError, actor: Actor) -> String {
    let resource = error.resource.as_deref().unwrap_or("it");
    let action = error.action;
    let code = error.code().unwrap_or_default();
    // IAM's `LimitExceeded` is a quota; the JSON services' `LimitExceededException` is throttling, but
    // for KMS, which has keys in mind.
    let is_quota = code.ends_with("LimitExceeded") && !error.is_throttling()
        || code == "LimitExceededException" && ["CreateAlias", "CreateKey"].contains(&action);
    if is_quota {
        return format!(
            "a quota of the account is used up: raise it in Service Quotas, or delete what is not \
             needed, then run the same command again ({resource})"
        );
    }
    if action == "CreateLaunchConfiguration" && is_refusal_of_launch_configurations(error) {
        return "launch templates are the way here: leave out `launchConfiguration: true` in the \
                group, and apply again"
            .to_owned();
    }
    if code == "DeleteConflict" {
        return detachment(action, resource);
    }
    if code == "DependencyViolation" && action == "DeleteSecurityGroup" {
        return format!(
            "something still has {resource} or lets it in: `aws ec2 describe-network-interfaces \
             --filters Name=group-id,Values={resource}` names network interfaces (end their \
             instances, or take the group off them), `aws ec2 describe-security-groups --filters \
             Name=ip-permission.group-id,Values={resource}` groups with a rule for it (revoke the \
             rule); then run the same command again"
        );
    }
    if code == "ResourceInUse" {
        return format!("something else still uses {resource}: end that first, then run it again");
    }
    if code == "InvalidKeyId" {
        return format!(
            "the key that is to encrypt {resource} is not there, or not usable: check \
             spec.token.kmsKey and its region"
        );
    }
    match error.class() {
        ErrorClass::Denied => permission(error, resource, actor),
        ErrorClass::Credentials => {
            "the credentials are missing, expired or unknown: renew them (`aws sts \
             get-caller-identity` shows whose they are)"
                .to_owned()
        }
        ErrorClass::Throttled => {
            "AWS asks for fewer calls: run the same command again in a minute; it goes on where it \
             stopped"
                .to_owned()
        }
        ErrorClass::Transient | ErrorClass::Contention => {
            "run the same command again: it goes on where it stopped".to_owned()
        }
        ErrorClass::NotFound => format!(
            "{resource} is not there: check the ids in the file (subnets, security groups, images) \
             and the region"
        ),
        ErrorClass::Invalid | ErrorClass::Other => {
            if code.contains("AlreadyExists") || code.ends_with(".Duplicate") {
                format!(
                    "somebody made {resource} at the same moment: run `windlass provision plan` \
                     again"
                )
            } else {
                format!("AWS refuses what the file says about {resource}: mend it there")
            }
        }
    }
}

/// Whose policy has the action that was denied, and how it is printed.
fn permission(error: &CallError, resource: &str, actor: Actor) -> String {
    let called = error.action;
    let denied = denied_action(error).unwrap_or(called);
    let lack = if denied.rsplit(':').next() == Some(called) {
        format!("these credentials lack the permission for {called} on {resource}")
    } else {
        format!(
            "these credentials lack the permission for {denied}, which {called} needs, on {resource}"
        )
    };
    let Some((actor, features)) = iam::granting(denied, actor) else {
        return format!("{lack}: let their policy allow it");
    };
    let (usual, others): (Vec<Feature>, Vec<Feature>) =
        features.into_iter().partition(|it| it.is_usual());
    let added: Vec<&str> = others.iter().map(|it| it.name()).collect();
    let named = format!(" --features usual,{}", added.join(","));
    let print = format!(
        "windlass iam render --actor {} --config FILE --account ID",
        actor.name()
    );
    if usual.is_empty() {
        return format!("{lack}: `{print}{named}` prints the policy");
    }
    if others.is_empty() {
        return format!("{lack}: `{print}` prints the policy");
    }
    let when: Vec<&str> = others.iter().map(|it| it.needed_when()).collect();
    format!(
        "{lack}: `{print}` prints the policy (with `{}` also for: {})",
        named.trim_start(),
        when.join("; ")
    )
}

/// The action that AWS's own text names, with its service: another one than was called where that
/// one needs it, such as `kms:Encrypt` for `PutParameter`.
fn denied_action(error: &CallError) -> Option<&str> {
    let (_, rest) = error.message()?.split_once("authorized to perform: ")?;
    let action = rest.split([' ', ',', ')']).next()?.trim_end_matches('.');
    let (service, name) = action.split_once(':')?;
    (!service.is_empty() && !name.is_empty()).then_some(action)
}

/// Somebody has attached something to what is to be deleted.
fn detachment(action: &str, resource: &str) -> String {
    let commands = if action == "DeleteInstanceProfile" {
        format!(
            "`aws iam get-instance-profile --instance-profile-name {resource}` names the roles in \
             it, `aws iam remove-role-from-instance-profile --instance-profile-name {resource} \
             --role-name ROLE` takes one out"
        )
    } else {
        format!(
            "`aws iam list-attached-role-policies --role-name {resource}` names policies, `aws iam \
             detach-role-policy --role-name {resource} --policy-arn ARN` detaches one; `aws iam \
             list-instance-profiles-for-role --role-name {resource}` names instance profiles that \
             have it"
        )
    };
    format!(
        "somebody has attached something to {resource} that Windlass has not: detach what is \
         attached to it, then run the same command again ({commands})"
    )
}

/// An account that was opened after September 2024 has none, and none has the instance types that
/// came after 2022.
fn is_refusal_of_launch_configurations(error: &CallError) -> bool {
    let text = error.message().unwrap_or_default().to_ascii_lowercase();
    error.code() == Some("UnsupportedOperation")
        || text.contains("use launch templates")
        || text.contains("not supported") && text.contains("launch configuration")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use windlass_aws_client::CallErrorKind;

    use super::*;
    use crate::cluster_config::ClusterConfig;
    use crate::iam::Place;

    fn error(action: &'static str, status: u16, code: &str, message: &str) -> CallError {
        CallError {
            action,
            resource: Some("prod-node".to_owned()),
            request_id: None,
            kind: CallErrorKind::Service {
                status,
                code: code.to_owned(),
                message: message.to_owned(),
            },
        }
    }

    #[test]
    fn every_kind_of_error_has_an_advice_with_the_resource_or_the_way_on() {
        for (status, code, part) in [
            (
                403,
                "AccessDenied",
                "permission for CreateRole on prod-node",
            ),
            (403, "ExpiredToken", "renew them"),
            (400, "Throttling", "fewer calls"),
            (409, "LimitExceeded", "quota"),
            (400, "ResourceLimitExceeded", "quota"),
            (409, "EntityAlreadyExists", "somebody made prod-node"),
            (404, "NoSuchEntity", "prod-node is not there"),
            (500, "InternalFailure", "again"),
            (400, "ValidationError", "refuses"),
        ] {
            let advice = advice(&error("CreateRole", status, code, ""), Actor::Provisioner);
            assert!(advice.contains(part), "{code}: {advice}");
        }
    }

    #[test]
    fn what_is_still_attached_is_to_be_detached() {
        for (action, part) in [
            (
                "DeleteRole",
                "detach-role-policy --role-name prod-node --policy-arn ARN",
            ),
            (
                "DeleteInstanceProfile",
                "remove-role-from-instance-profile --instance-profile-name prod-node",
            ),
        ] {
            let error = error(action, 409, "DeleteConflict", "must detach all policies");
            let advice = advice(&error, Actor::Provisioner);
            assert!(advice.contains("detach what is attached to it"), "{advice}");
            assert!(advice.contains(part), "{advice}");
        }
    }

    #[test]
    fn what_has_a_security_group_is_to_be_found() {
        let message = "resource sg-1 has a dependent object";
        let mut error = error("DeleteSecurityGroup", 400, "DependencyViolation", message);
        error.resource = Some("sg-1".to_owned());
        let advice = advice(&error, Actor::Provisioner);
        for part in [
            "describe-network-interfaces --filters Name=group-id,Values=sg-1`",
            "Name=ip-permission.group-id,Values=sg-1`",
            "run the same command again",
        ] {
            assert!(advice.contains(part), "{advice}");
        }
    }

    /// The actor and the features that a hint names, as the command line has them.
    fn named(advice: &str) -> (Actor, Vec<&str>) {
        let words: Vec<&str> = advice.split([' ', '`']).collect();
        let after = |flag: &str| {
            let at = words.iter().position(|word| *word == flag);
            at.map(|at| words[at + 1])
        };
        let name = after("--actor").unwrap();
        let actor = Actor::ALL.into_iter().find(|it| it.name() == name).unwrap();
        let features = after("--features");
        (
            actor,
            features.map_or(Vec::new(), |names| names.split(',').collect()),
        )
    }

    /// The actions of the policy that a hint names.
    fn printed(advice: &str, config: Option<&ClusterConfig>) -> (Actor, BTreeSet<String>) {
        let (actor, names) = named(advice);
        let features = actor.chosen(&names, config).unwrap();
        let place = Place {
            key: Some("alias/prod".to_owned()),
            ..config.map_or_else(
                || Place::new("eu-west-1", "123456789012", "prod"),
                |config| config.place("123456789012"),
            )
        };
        let document = iam::policy(&features, &place);
        let statements = document["Statement"].as_array().unwrap();
        let actions = statements
            .iter()
            .flat_map(|it| it["Action"].as_array().unwrap());
        (
            actor,
            actions.map(|it| it.as_str().unwrap().to_owned()).collect(),
        )
    }

    #[test]
    fn the_policy_that_a_denial_names_has_the_action() {
        let example = include_str!("../../../../examples/cluster.yaml");
        let example = ClusterConfig::read("cluster.yaml", example).unwrap();
        let mut cells = 0;
        for actor in Actor::ALL {
            for feature in actor.features() {
                for action in feature.grants().iter().flat_map(|grant| grant.actions) {
                    let bare = action.split(':').nth(1).unwrap();
                    let message = format!(
                        "User: arn:aws:iam::1:user/u is not authorized to perform: {action} on \
                         resource: x because no identity-based policy allows it"
                    );
                    for message in ["", &message] {
                        let denied = error(bare, 403, "AccessDenied", message);
                        let advice = advice(&denied, actor);
                        assert!(
                            advice.contains(&format!("permission for {bare} on prod-node")),
                            "{advice}"
                        );
                        // Keys of images are named in a file alone.
                        if feature != Feature::AmiKeys {
                            let (whose, actions) = printed(&advice, None);
                            assert_eq!(whose, actor, "{advice}");
                            assert!(actions.contains(*action), "{action}: {advice}");
                        }
                        let is_of_example = feature.follows_from(&example) || !feature.is_usual();
                        if is_of_example {
                            let (whose, actions) = printed(&advice, Some(&example));
                            assert_eq!(whose, actor, "{advice}");
                            assert!(actions.contains(*action), "{action}: {advice}");
                        }
                        cells += 1;
                    }
                }
            }
        }
        assert!(300 < cells, "{cells}");
    }

    #[test]
    fn a_denial_names_who_may_and_with_which_feature() {
        let hint = |actor, action, message: &str| {
            let code = "AccessDeniedException";
            advice(&error(action, 400, code, message), actor)
        };
        // What only some files need.
        let pruning = hint(Actor::AmiBuilder, "DescribeSnapshots", "");
        assert!(
            pruning.contains(
                "--actor ami-builder --config FILE --account ID --features usual,ami-pruning`"
            ),
            "{pruning}"
        );
        // One action for several things.
        let import = hint(Actor::Provisioner, "CreateOrUpdateTags", "");
        assert!(
            import.contains(
                "`--features usual,provision-import` also for: `windlass provision import`"
            ),
            "{import}"
        );
        // What the actor never needs is another's.
        let role = hint(Actor::AmiBuilder, "CreateRole", "");
        assert!(role.contains("--actor provisioner "), "{role}");
        // AWS names another action than was called.
        let message = "User: arn:aws:sts::1:assumed-role/r/s is not authorized to perform: \
                       kms:Encrypt on resource: arn:aws:kms:us-west-2:1:key/2";
        let key = hint(Actor::Provisioner, "PutParameter", message);
        assert!(
            key.contains("permission for kms:Encrypt, which PutParameter needs"),
            "{key}"
        );
        let nobody = hint(Actor::Doctor, "DeleteBucket", "");
        assert!(nobody.ends_with("let their policy allow it"), "{nobody}");
    }
}
