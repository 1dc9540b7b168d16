//! Every error of AWS, for every kind of resource, is told with the resource, the action and what to
//! do about it.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use windlass_e2e::{expect, ssm_error, values};
use windlass_testbed::proxy::{Act, Matcher};

use crate::scene::{ALL, MADE, cluster_file_with, command, run};

/// How a service words its errors.
#[derive(Clone, Copy)]
enum Wording {
    Query,
    Ec2,
    Json,
}

impl Wording {
    fn error(self, status: u16, code: &str) -> Act {
        match self {
            Self::Query => Act::aws_error(status, code),
            Self::Ec2 => Act::ec2_error(status, code),
            Self::Json => ssm_error(code),
        }
    }

    fn denied(self) -> Act {
        match self {
            Self::Query => self.error(403, "AccessDenied"),
            Self::Ec2 => self.error(403, "UnauthorizedOperation"),
            Self::Json => self.error(400, "AccessDeniedException"),
        }
    }

    fn throttled(self) -> Act {
        match self {
            Self::Query => self.error(400, "Throttling"),
            Self::Ec2 => self.error(503, "RequestLimitExceeded"),
            Self::Json => self.error(400, "ThrottlingException"),
        }
    }
}

/// A kind of resource, in the order in which they are made.
struct Kind {
    /// As it is called.
    resource: &'static str,
    wording: Wording,
    /// The call that makes it, and what that is about.
    action: &'static str,
    about: &'static str,
    /// Codes for a quota that is used up, and for something that it needs and is not there.
    limit: &'static str,
    not_found: &'static str,
    /// Whose policy has the call, as a denial names it.
    policy: &'static str,
    /// The call and the code that say that there is one already.
    duplicate: Option<(&'static str, &'static str)>,
}

const KINDS: [Kind; 8] = [
    Kind {
        resource: "KMS key `alias/prod-windlass-join`",
        wording: Wording::Json,
        action: "CreateKey",
        about: "alias/prod-windlass-join",
        limit: "LimitExceededException",
        not_found: "NotFoundException",
        policy: "--actor provisioner --config FILE --account ID --features usual,provision-key`",
        duplicate: Some(("CreateAlias", "AlreadyExistsException")),
    },
    Kind {
        resource: "role `prod-windlass-node`",
        wording: Wording::Query,
        action: "CreateRole",
        about: "prod-windlass-node",
        limit: "LimitExceeded",
        not_found: "NoSuchEntity",
        policy: "--actor provisioner --config FILE --account ID`",
        duplicate: Some(("CreateRole", "EntityAlreadyExists")),
    },
    Kind {
        resource: "instance profile `prod-windlass-node`",
        wording: Wording::Query,
        action: "CreateInstanceProfile",
        about: "prod-windlass-node",
        limit: "LimitExceeded",
        not_found: "NoSuchEntity",
        policy: "--actor provisioner --config FILE --account ID`",
        duplicate: Some(("CreateInstanceProfile", "EntityAlreadyExists")),
    },
    Kind {
        resource: "parameter `/windlass/prod/join`",
        wording: Wording::Json,
        action: "PutParameter",
        about: "/windlass/prod/join",
        limit: "ParameterLimitExceeded",
        not_found: "InvalidKeyId",
        policy: "--actor provisioner --config FILE --account ID`",
        duplicate: Some(("PutParameter", "ParameterAlreadyExists")),
    },
    Kind {
        resource: "security group `prod-windlass-nodes`",
        wording: Wording::Ec2,
        action: "CreateSecurityGroup",
        about: "prod-windlass-nodes",
        limit: "SecurityGroupLimitExceeded",
        not_found: "InvalidVpcID.NotFound",
        policy: "--features usual,provision-security-group`",
        duplicate: Some(("CreateSecurityGroup", "InvalidGroup.Duplicate")),
    },
    Kind {
        resource: "launch template `prod-web`",
        wording: Wording::Ec2,
        action: "CreateLaunchTemplate",
        about: "prod-web",
        limit: "ResourceLimitExceeded",
        not_found: "InvalidAMIID.NotFound",
        policy: "--actor provisioner --config FILE --account ID`",
        duplicate: Some((
            "CreateLaunchTemplate",
            "InvalidLaunchTemplateName.AlreadyExistsException",
        )),
    },
    // There is none of a name that says something else: one that is there already will do.
    Kind {
        resource: "launch configuration `prod-old-",
        wording: Wording::Query,
        action: "CreateLaunchConfiguration",
        about: "prod-old-",
        limit: "LimitExceeded",
        not_found: "InvalidAMIID.NotFound",
        policy: "--features usual,provision-launch-configurations`",
        duplicate: None,
    },
    Kind {
        resource: "Auto Scaling group `prod-old`",
        wording: Wording::Query,
        action: "CreateAutoScalingGroup",
        about: "prod-old",
        limit: "LimitExceeded",
        not_found: "InvalidSubnetID.NotFound",
        policy: "--actor provisioner --config FILE --account ID`",
        duplicate: Some(("CreateAutoScalingGroup", "AlreadyExists")),
    },
];

/// What had been made before stays, and each run goes on from it: so the kinds come in their order.
#[test]
fn every_error_of_aws_is_told_with_resource_action_and_what_to_do() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file_with(testbed, MADE, ALL)?;
    let check = |kind: &Kind, action: &str, answer: Act, hint: &str| -> Result<()> {
        let proxy = testbed.proxy_aws()?;
        let matcher = Matcher::action(action);
        // The lock is a parameter too.
        let matcher = match kind.action {
            "PutParameter" => matcher.body_contains(kind.about),
            _ => matcher,
        };
        proxy.on(matcher, answer);
        let output = command(testbed, proxy.url(), &["apply", "--yes"])?
            .env("AWS_MAX_ATTEMPTS", "1")
            .output()?;
        let of = format!("{action} of `{}", kind.about);
        let text = expect(&output, 1, &of)?;
        for part in [kind.resource, hint] {
            ensure!(text.contains(part), "no `{part}` in {text}");
        }
        Ok(())
    };
    for kind in &KINDS {
        let denied = format!("lack the permission for {}", kind.action);
        for (answer, hint) in [
            (kind.wording.denied(), denied.as_str()),
            (kind.wording.denied(), kind.policy),
            (kind.wording.throttled(), "AWS asks for fewer calls"),
            (
                kind.wording.error(400, kind.limit),
                "a quota of the account",
            ),
            (kind.wording.error(400, kind.not_found), "is not there"),
        ] {
            check(kind, kind.action, answer, hint).with_context(|| kind.resource.to_owned())?;
        }
        if let Some((action, code)) = kind.duplicate {
            check(kind, action, kind.wording.error(400, code), "somebody made")
                .with_context(|| format!("{}: {code}", kind.resource))?;
        }
    }
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    expect(&run(testbed, &["plan"])?, 0, "No changes")?;
    Ok(())
}

/// Accounts that were opened after September 2024 have no launch configurations.
#[test]
fn an_account_without_launch_configurations_is_shown_the_other_way() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file_with(testbed, "", ALL)?;
    let proxy = testbed.proxy_aws()?;
    proxy.on(
        Matcher::action("CreateLaunchConfiguration"),
        Act::Answer {
            status: 400,
            content_type: "text/xml".to_owned(),
            body: "<ErrorResponse><Error><Type>Sender</Type><Code>UnsupportedOperation</Code>\
                   <Message>The Launch Configuration creation operation is not available in your \
                   account. Use launch templates to create configuration templates for your Auto \
                   Scaling groups.</Message></Error></ErrorResponse>"
                .to_owned(),
        },
    );
    let output = command(testbed, proxy.url(), &["apply", "--yes"])?.output()?;
    let text = expect(&output, 1, "launch configuration `prod-old-")?;
    ensure!(
        text.contains("leave out `launchConfiguration: true`"),
        "{text}"
    );
    cluster_file_with(testbed, "", &ALL.replace(", launchConfiguration: true", ""))?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    Ok(())
}

/// What cannot be deleted is named too.
#[test]
fn what_cannot_be_deleted_is_told_likewise() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file_with(testbed, MADE, ALL)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    for (action, wording, resource) in [
        (
            "DeleteAutoScalingGroup",
            Wording::Query,
            "Auto Scaling group `prod-",
        ),
        (
            "DeleteLaunchConfiguration",
            Wording::Query,
            "launch configuration `prod-old-",
        ),
        (
            "DeleteLaunchTemplate",
            Wording::Ec2,
            "launch template `prod-web`",
        ),
        (
            "DeleteSecurityGroup",
            Wording::Ec2,
            "security group `prod-windlass-nodes`",
        ),
        (
            "DeleteParameter",
            Wording::Json,
            "parameter `/windlass/prod/join`",
        ),
        (
            "DeleteInstanceProfile",
            Wording::Query,
            "instance profile `prod-windlass-node`",
        ),
        ("DeleteRole", Wording::Query, "role `prod-windlass-node`"),
        (
            "ScheduleKeyDeletion",
            Wording::Json,
            "KMS key `alias/prod-windlass-join`",
        ),
    ] {
        let proxy = testbed.proxy_aws()?;
        let mut matcher = Matcher::action(action);
        if action == "DeleteParameter" {
            matcher = matcher.body_contains(&json!("/windlass/prod/join").to_string());
        }
        proxy.on(matcher, wording.denied());
        let destroy = ["destroy", "--yes", "--schedule-key-deletion"];
        let output = command(testbed, proxy.url(), &destroy)?.output()?;
        let text = expect(&output, 1, resource)?;
        let hint = format!("lack the permission for {action}");
        ensure!(text.contains(&hint), "no `{hint}` in {text}");
    }
    Ok(())
}

/// A policy that somebody has attached to the role is in the way of its deletion, and is told with the
/// commands that show and detach it.
#[test]
fn what_somebody_has_attached_is_told_with_how_it_is_detached() -> Result<()> {
    const ROLE: &str = "prod-windlass-node";
    let testbed = windlass_e2e::testbed()?;
    cluster_file_with(testbed, "", ALL)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    let iam =
        |action: &str, parameters: &[(&str, &str)]| testbed.aws().query("iam", action, parameters);
    let policy = [
        ("PolicyName", "backup"),
        (
            "PolicyDocument",
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}]}"#,
        ),
    ];
    let made = iam("CreatePolicy", &policy)?;
    let arn = values(&made, "Arn").remove(0);
    let attachment = [("RoleName", ROLE), ("PolicyArn", arn.as_str())];
    iam("AttachRolePolicy", &attachment)?;
    let text = expect(
        &run(testbed, &["destroy", "--yes"])?,
        1,
        "detach what is attached to it",
    )?;
    for part in [
        "role `prod-windlass-node`",
        "aws iam list-attached-role-policies --role-name prod-windlass-node",
        "aws iam detach-role-policy --role-name prod-windlass-node --policy-arn ARN",
    ] {
        ensure!(text.contains(part), "no `{part}` in {text}");
    }
    iam("DetachRolePolicy", &attachment)?;
    iam("DeletePolicy", &attachment[1..])?;
    expect(&run(testbed, &["destroy", "--yes"])?, 0, "Done.")?;
    Ok(())
}
