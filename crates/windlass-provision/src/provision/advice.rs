//! What to do about an error of AWS.

use windlass_aws_client::{CallError, ErrorClass};

/// What to do about a failed call, in a sentence.
pub fn advice(error: &CallError) -> String {
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
        ErrorClass::Denied => format!(
            "these credentials lack the permission for {action} on {resource}: `windlass iam \
             render --actor provisioner` prints the policy"
        ),
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
            if code.contains("AlreadyExists") {
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
    use windlass_aws_client::CallErrorKind;

    use super::*;

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
            let error = CallError {
                action: "CreateRole",
                resource: Some("prod-node".to_owned()),
                request_id: None,
                kind: CallErrorKind::Service {
                    status,
                    code: code.to_owned(),
                    message: String::new(),
                },
            };
            let advice = advice(&error);
            assert!(advice.contains(part), "{code}: {advice}");
        }
    }
}
