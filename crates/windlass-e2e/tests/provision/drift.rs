//! Each field that Windlass manages, changed behind its back: drift names it, apply mends it, and
//! drift is silent again. All permissions are needed for that, and no others.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use windlass_e2e::{Ssm, account, called, check_exactly, check_same, expect, granted_for, values};
use windlass_provision::iam::{Actor, Feature};
use windlass_testbed::Testbed;
use windlass_testbed::proxy::{Act, Matcher};

use crate::howto::make_as_the_how_to_does;
use crate::scene::{
    ALL, AUTOSCALING, EC2, IAM, MADE, cluster_file_with, run_through, security_group, subnets,
};

const ROLE: (&str, &str) = ("RoleName", "prod-windlass-node");
const PROFILE: (&str, &str) = ("InstanceProfileName", "prod-windlass-node");
const GROUP: (&str, &str) = ("AutoScalingGroupName", "prod-web");
const OWN_TAG: &str = "team";
const NETWORK: &str = "10.0.0.0/8";

/// A hand on AWS.
struct Hand<'a> {
    testbed: &'a Testbed,
}

impl Hand<'_> {
    fn query(&self, service: &str, action: &str, parameters: &[(&str, &str)]) -> Result<()> {
        self.testbed
            .aws()
            .query(service, action, parameters)
            .map(drop)
    }

    fn json(&self, service: &str, target: &str, input: &Value) -> Result<()> {
        Ssm::of(self.testbed).ask(service, target, input).map(drop)
    }

    fn kms(&self, action: &str, mut more: Value) -> Result<()> {
        let answer = Ssm::of(self.testbed).ask(
            "kms",
            "TrentService.DescribeKey",
            &json!({ "KeyId": "alias/prod-windlass-join" }),
        )?;
        more["KeyId"] = answer["KeyMetadata"]["KeyId"].clone();
        self.json("kms", &format!("TrentService.{action}"), &more)
    }

    /// A tag of the group, set or removed.
    fn group_tag(&self, action: &str, key: &str) -> Result<()> {
        self.query(
            AUTOSCALING,
            action,
            &[
                ("Tags.member.1.ResourceId", "prod-web"),
                ("Tags.member.1.ResourceType", "auto-scaling-group"),
                ("Tags.member.1.Key", key),
                ("Tags.member.1.Value", "by-hand"),
                ("Tags.member.1.PropagateAtLaunch", "false"),
            ],
        )
    }

    /// The security group, with more parameters.
    fn security_group(&self, action: &str, id: &str, parameters: &[(&str, &str)]) -> Result<()> {
        let group = security_group(self.testbed)?;
        self.query(EC2, action, &[&[(id, group.as_str())], parameters].concat())
    }

    /// A rule of the security group for a port, from [`NETWORK`].
    fn rule(&self, action: &str, port: &str, description: &str) -> Result<()> {
        let rule = [
            ("IpPermissions.1.IpProtocol", "tcp"),
            ("IpPermissions.1.FromPort", port),
            ("IpPermissions.1.ToPort", port),
            ("IpPermissions.1.IpRanges.1.CidrIp", NETWORK),
            ("IpPermissions.1.IpRanges.1.Description", description),
        ];
        self.security_group(action, "GroupId", &rule)
    }

    /// What AWS says of the template once a tag of it is gone: moto goes on listing the first ones.
    fn template_without_tag(&self) -> Result<Act> {
        let name = [("LaunchTemplateName.1", "prod-web")];
        let xml = self
            .testbed
            .aws()
            .query(EC2, "DescribeLaunchTemplates", &name)?;
        let body = xml.replace(&format!("<key>{OWN_TAG}</key>"), "<key>other</key>");
        ensure!(body != xml, "no tag `{OWN_TAG}` in {xml}");
        Ok(Act::Answer {
            status: 200,
            content_type: "text/xml".to_owned(),
            body,
        })
    }
}

/// What is changed, and how drift calls it.
type Change = (&'static str, fn(&Hand<'_>) -> Result<()>);

const CHANGES: [Change; 24] = [
    ("min: 1 → 0", |hand| {
        hand.testbed.aws().set_limits("prod-web", 1, 3)
    }),
    ("max: 7 → 3", |hand| {
        hand.testbed.aws().set_limits("prod-web", 0, 7)
    }),
    ("health_check_grace_seconds: 60 → 900", |hand| {
        let grace = ("HealthCheckGracePeriod", "60");
        hand.query(AUTOSCALING, "UpdateAutoScalingGroup", &[GROUP, grace])
    }),
    ("subnets", |hand| {
        let other = subnets(hand.testbed)?.remove(1);
        let subnet = ("VPCZoneIdentifier", other.as_str());
        hand.query(AUTOSCALING, "UpdateAutoScalingGroup", &[GROUP, subnet])
    }),
    ("tags[k8s.io/cluster-autoscaler/prod]", |hand| {
        hand.group_tag("DeleteTags", "k8s.io/cluster-autoscaler/prod")
    }),
    (
        "tags[k8s.io/cluster-autoscaler/node-template/label/x]",
        |hand| {
            hand.group_tag(
                "CreateOrUpdateTags",
                "k8s.io/cluster-autoscaler/node-template/label/x",
            )
        },
    ),
    ("suspended", |hand| {
        let process = ("ScalingProcesses.member.1", "AZRebalance");
        hand.query(AUTOSCALING, "ResumeProcesses", &[GROUP, process])
    }),
    ("hooks.windlass-join.default_result", |hand| {
        hand.query(
            AUTOSCALING,
            "PutLifecycleHook",
            &[
                GROUP,
                ("LifecycleHookName", "windlass-join"),
                ("LifecycleTransition", "autoscaling:EC2_INSTANCE_LAUNCHING"),
                ("HeartbeatTimeout", "900"),
                ("DefaultResult", "CONTINUE"),
            ],
        )
    }),
    ("hooks.windlass-more", |hand| {
        hand.query(
            AUTOSCALING,
            "PutLifecycleHook",
            &[
                GROUP,
                ("LifecycleHookName", "windlass-more"),
                (
                    "LifecycleTransition",
                    "autoscaling:EC2_INSTANCE_TERMINATING",
                ),
                ("HeartbeatTimeout", "900"),
                ("DefaultResult", "CONTINUE"),
            ],
        )
    }),
    ("trust", |hand| {
        let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":
            {"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
        let document = ("PolicyDocument", trust);
        hand.query(IAM, "UpdateAssumeRolePolicy", &[ROLE, document])
    }),
    ("policies.prod-windlass-node", |hand| {
        let policy = ("PolicyName", "prod-windlass-node");
        hand.query(IAM, "DeleteRolePolicy", &[ROLE, policy])
    }),
    ("tags.team", |hand| {
        let key = ("TagKeys.member.1", OWN_TAG);
        hand.query(IAM, "UntagRole", &[ROLE, key])
    }),
    ("tags.team", |hand| {
        let key = ("TagKeys.member.1", OWN_TAG);
        hand.query(IAM, "UntagInstanceProfile", &[PROFILE, key])
    }),
    ("roles", |hand| {
        hand.query(IAM, "RemoveRoleFromInstanceProfile", &[PROFILE, ROLE])
    }),
    ("tags.team", |hand| {
        hand.json(
            "ssm",
            "AmazonSSM.RemoveTagsFromResource",
            &json!({
                "ResourceType": "Parameter", "ResourceId": "/windlass/prod/join",
                "TagKeys": [OWN_TAG],
            }),
        )
    }),
    (
        "ingress[tcp 10250 from 10.0.0.0/8]: (none) → windlass: kubelets",
        |hand| hand.rule("RevokeSecurityGroupIngress", "10250", ""),
    ),
    (
        "ingress[tcp 10250 from 10.0.0.0/8]: windlass: none → windlass: kubelets",
        |hand| {
            hand.rule(
                "UpdateSecurityGroupRuleDescriptionsIngress",
                "10250",
                "windlass: none",
            )
        },
    ),
    (
        "ingress[tcp 22 from 10.0.0.0/8]: windlass: once → (none)",
        |hand| hand.rule("AuthorizeSecurityGroupIngress", "22", "windlass: once"),
    ),
    ("ingress[all from self]: (none) → windlass: ", |hand| {
        let group = security_group(hand.testbed)?;
        let rule = [
            ("IpPermissions.1.IpProtocol", "-1"),
            ("IpPermissions.1.Groups.1.GroupId", group.as_str()),
            (
                "IpPermissions.1.Groups.1.Description",
                "windlass: as the file of the cluster says",
            ),
        ];
        hand.security_group("RevokeSecurityGroupIngress", "GroupId", &rule)
    }),
    ("tags.team", |hand| {
        hand.security_group("DeleteTags", "ResourceId.1", &[("Tag.1.Key", OWN_TAG)])
    }),
    ("policy.Statement", |hand| {
        let policy = r#"{"Version":"2012-10-17","Statement":[]}"#;
        let input = json!({ "PolicyName": "default", "Policy": policy });
        hand.kms("PutKeyPolicy", input)
    }),
    ("rotation: false → true", |hand| {
        hand.kms("DisableKeyRotation", json!({}))
    }),
    ("tags.team", |hand| {
        hand.kms("UntagResource", json!({ "TagKeys": [OWN_TAG] }))
    }),
    ("alias: false → true", |hand| {
        let alias = json!({ "AliasName": "alias/prod-windlass-join" });
        hand.json("kms", "TrentService.DeleteAlias", &alias)
    }),
];

/// A cluster with something for every permission.
pub(crate) const GROUPS: &str = "  \
  - {name: data, min: 0, max: 3, zonal: true, image: {tags: {purpose: nodes}}}
  - {name: named, min: 0, max: 3, image: {parameter: /windlass/prod/image/amd64}}
  - {name: spot, min: 0, max: 3, instances: {types: [m5.large, m5a.large], spot: 70%}}
";

/// What no call of `apply`, `import` and `destroy` needs.
const OTHERS: [Feature; 2] = [Feature::ProvisionRoll, Feature::ProvisionRefresh];

#[test]
fn what_was_changed_by_hand_is_named_and_mended_and_every_permission_is_needed() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    make_as_the_how_to_does(testbed)?;
    make_images(testbed)?;
    let key = MADE;
    let all = format!("{ALL}{GROUPS}");
    cluster_file_with(testbed, key, &all)?;
    // All calls of all runs.
    let proxy = testbed.proxy_aws()?;
    let run = |arguments: &[&str]| run_through(testbed, &proxy, arguments);
    let import = ["import", "--asg=k8s-nodes", "--group=web", "--yes"];
    expect(&run(&import)?, 0, "Done.")?;
    let tag = [
        ("Tags.member.1.ResourceId", "k8s-nodes"),
        ("Tags.member.1.ResourceType", "auto-scaling-group"),
        ("Tags.member.1.Key", "windlass.dev/cluster"),
    ];
    // It goes back to whom it belongs.
    testbed.aws().query(AUTOSCALING, "DeleteTags", &tag)?;
    expect(&run(&["apply", "--yes"])?, 0, "Done.")?;
    expect(&run(&["drift"])?, 0, "No changes")?;
    let made = account(testbed)?;
    let hand = Hand { testbed };
    for (number, (part, change)) in CHANGES.into_iter().enumerate() {
        let about = || format!("change {number}: {part}");
        change(&hand).with_context(about)?;
        expect(&run(&["drift"])?, 2, part).with_context(about)?;
        expect(&run(&["apply", "--yes"])?, 0, "Done.").with_context(about)?;
        expect(&run(&["drift"])?, 0, "No changes").with_context(about)?;
    }
    let of_web = Matcher::action("DescribeLaunchTemplates").body_contains("=prod-web");
    proxy.on(of_web, hand.template_without_tag()?);
    expect(&run(&["drift"])?, 2, "tags.team")?;
    expect(&run(&["apply", "--yes"])?, 0, "Done.")?;
    proxy.pass_all();
    expect(&run(&["drift"])?, 0, "No changes")?;
    // Whatever was mended is as it was, but for the order of tags and the hand's own traces.
    let in_order = |account: &windlass_e2e::Account| -> BTreeSet<String> {
        account
            .iter()
            .filter(|(name, _)| name.starts_with("iam") || name.contains("LaunchConfig"))
            .map(|(name, text)| {
                let mut words: Vec<&str> = text.split('<').collect();
                words.sort_unstable();
                format!("{name} {}", words.join("<"))
            })
            .collect()
    };
    ensure!(in_order(&account(testbed)?) == in_order(&made));

    // Another launch configuration takes the place of the first, and another version of the template.
    let other = all.replace("max: 3, launch", "max: 3, labels: {tier: db}, launch");
    cluster_file_with(testbed, key, &other.replace("tier: web", "tier: front"))?;
    expect(&run(&["apply", "--yes"])?, 0, "Done.")?;
    // The hand's minimum of one has left an instance.
    let destroy = ["destroy", "--yes", "--force", "--schedule-key-deletion"];
    expect(&run(&destroy)?, 0, "Done.")?;
    let features: Vec<Feature> = Actor::Provisioner
        .features()
        .into_iter()
        .filter(|feature| !OTHERS.contains(feature))
        .collect();
    check_exactly(&granted_for(&features), &called(&proxy))
}

/// Images that are found by their tags and by a parameter.
pub(crate) fn make_images(testbed: &Testbed) -> Result<()> {
    let aws = testbed.aws();
    let run = [
        ("ImageId", "ami-1e749f67"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
    ];
    let xml = aws.query(EC2, "RunInstances", &run)?;
    let instance = values(&xml, "instanceId").remove(0);
    let image = [
        ("InstanceId", instance.as_str()),
        ("Name", "nodes"),
        ("TagSpecification.1.ResourceType", "image"),
        ("TagSpecification.1.Tag.1.Key", "purpose"),
        ("TagSpecification.1.Tag.1.Value", "nodes"),
    ];
    aws.query(EC2, "CreateImage", &image)?;
    Ssm::of(testbed).put("/windlass/prod/image/amd64", "String", "ami-1e749f67")
}

/// What others have put on Windlass's own resources stays.
#[test]
fn what_others_add_stays() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file_with(testbed, "", ALL)?;
    let proxy = testbed.proxy_aws()?;
    let run = |arguments: &[&str]| run_through(testbed, &proxy, arguments);
    expect(&run(&["apply", "--yes"])?, 0, "Done.")?;
    let hand = Hand { testbed };
    hand.group_tag("CreateOrUpdateTags", "cost-centre")?;
    let hook = [
        GROUP,
        ("LifecycleHookName", "backup"),
        (
            "LifecycleTransition",
            "autoscaling:EC2_INSTANCE_TERMINATING",
        ),
        ("HeartbeatTimeout", "60"),
        ("DefaultResult", "CONTINUE"),
    ];
    hand.query(AUTOSCALING, "PutLifecycleHook", &hook)?;
    let policy = [
        ROLE,
        ("PolicyName", "logs"),
        (
            "PolicyDocument",
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"logs:PutLogEvents","Resource":"*"}]}"#,
        ),
    ];
    hand.query(IAM, "PutRolePolicy", &policy)?;
    let before = account(testbed)?;
    expect(&run(&["apply", "--yes"])?, 0, "No changes")?;
    check_same(&account(testbed)?, &before)
}
