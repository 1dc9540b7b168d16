//! The permissions as moto enforces them. It knows resource `*` alone, so this is about actions; the
//! narrowing to resources and tags is tested by the evaluator, where the policies are.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use windlass_aws::{ActionSettings, Aws, Floor, Membership, TemplateSettings};
use windlass_aws_client::ssm::PutParameter;
use windlass_aws_client::{
    Attempt, CallError, Client, ErrorClass, Observer, Operation, Secret, Service, StaticCredentials,
};
use windlass_config::{DiscoveryMode, NodeGroupSpec};
use windlass_model::Node;
use windlass_provision::iam::{Actor, Feature};

use crate::server::{AUTOSCALING, EC2, IMAGE, Server, text};

const IAM: &str = "2010-05-08";

fn actions(features: &[Feature]) -> BTreeSet<&'static str> {
    features
        .iter()
        .flat_map(|feature| feature.grants())
        .flat_map(|grant| grant.actions)
        .copied()
        .collect()
}

fn on_everything<'a>(actions: impl IntoIterator<Item = &'a str>) -> String {
    let actions: Vec<String> = actions
        .into_iter()
        .map(|action| format!("\"{action}\""))
        .collect();
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":[{}],"Resource":"*"}}]}}"#,
        actions.join(",")
    )
}

/// Credentials of a new user with that policy.
async fn user(root: &Client, name: &str, policy: &str) -> StaticCredentials {
    let call = |action, parameters: Vec<(&'static str, String)>| async move {
        let parameters: Vec<(&str, &str)> = parameters
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        root.query(Service::Iam, IAM, action, &parameters)
            .await
            .expect(action)
    };
    let named = || ("UserName", name.to_owned());
    call("CreateUser", vec![named()]).await;
    let document = ("PolicyDocument", policy.to_owned());
    let policy_name = ("PolicyName", "it".to_owned());
    call("PutUserPolicy", vec![named(), policy_name, document]).await;
    let xml = call("CreateAccessKey", vec![named()]).await;
    StaticCredentials {
        access_key_id: text(&xml, "AccessKeyId").to_owned(),
        secret_access_key: Secret::new(text(&xml, "SecretAccessKey")),
        session_token: None,
    }
}

async fn prepare(root: &Client) {
    for (service, version, action, parameters) in [
        (
            Service::Ec2,
            EC2,
            "CreateLaunchTemplate",
            vec![
                ("LaunchTemplateName", "web"),
                ("LaunchTemplateData.InstanceType", "m5.large"),
                ("LaunchTemplateData.ImageId", IMAGE),
            ],
        ),
        (
            Service::AutoScaling,
            AUTOSCALING,
            "CreateLaunchConfiguration",
            vec![
                ("LaunchConfigurationName", "old"),
                ("InstanceType", "c5.large"),
                ("ImageId", IMAGE),
            ],
        ),
        (
            Service::AutoScaling,
            AUTOSCALING,
            "CreateAutoScalingGroup",
            vec![
                ("AutoScalingGroupName", "web"),
                ("MinSize", "0"),
                ("MaxSize", "5"),
                ("DesiredCapacity", "2"),
                ("AvailabilityZones.member.1", "us-east-1a"),
                ("LaunchTemplate.LaunchTemplateName", "web"),
            ],
        ),
        (
            Service::AutoScaling,
            AUTOSCALING,
            "CreateAutoScalingGroup",
            vec![
                ("AutoScalingGroupName", "old"),
                ("MinSize", "0"),
                ("MaxSize", "5"),
                ("AvailabilityZones.member.1", "us-east-1a"),
                ("LaunchConfigurationName", "old"),
            ],
        ),
    ] {
        root.query(service, version, action, &parameters)
            .await
            .expect(action);
    }
}

/// What AWS says to one action.
async fn attempt(client: &Client, action: &str) -> Result<(), CallError> {
    let group = ("AutoScalingGroupName", "web");
    let (service, version, parameters) = match action {
        "autoscaling:SetDesiredCapacity" => {
            let parameters = vec![group, ("DesiredCapacity", "2")];
            (Service::AutoScaling, AUTOSCALING, parameters)
        }
        "autoscaling:TerminateInstanceInAutoScalingGroup" => {
            let parameters = vec![
                ("InstanceId", "i-1"),
                ("ShouldDecrementDesiredCapacity", "true"),
            ];
            (Service::AutoScaling, AUTOSCALING, parameters)
        }
        "autoscaling:SetInstanceProtection" => {
            let parameters = vec![
                group,
                ("InstanceIds.member.1", "i-1"),
                ("ProtectedFromScaleIn", "true"),
            ];
            (Service::AutoScaling, AUTOSCALING, parameters)
        }
        "autoscaling:SetInstanceHealth" => {
            let parameters = vec![("InstanceId", "i-1"), ("HealthStatus", "Unhealthy")];
            (Service::AutoScaling, AUTOSCALING, parameters)
        }
        action if action.starts_with("autoscaling:") => {
            (Service::AutoScaling, AUTOSCALING, vec![group])
        }
        "ssm:DeleteParameter" => return client.ssm().delete_parameter("/x").await.map(drop),
        "ssm:GetParameter" => return client.ssm().get_parameter("/x").await.map(drop),
        "ssm:PutParameter" => {
            let value = Secret::new("it");
            let parameter = PutParameter {
                name: "/x",
                value: &value,
                description: "",
                encryption: None,
                overwrite: true,
            };
            return client.ssm().put_parameter(&parameter).await.map(drop);
        }
        _ => (Service::Ec2, EC2, vec![("ImageId.1", IMAGE)]),
    };
    let name = action.split(':').nth(1).expect("service:Action");
    let name: &'static str = NAMES
        .iter()
        .find(|known| **known == name)
        .expect("a known action");
    client
        .query(service, version, name, &parameters)
        .await
        .map(drop)
}

const NAMES: [&str; 29] = [
    "DescribeAutoScalingGroups",
    "DescribeScalingActivities",
    "SetDesiredCapacity",
    "TerminateInstanceInAutoScalingGroup",
    "DescribeLaunchTemplateVersions",
    "DescribeLaunchConfigurations",
    "DescribeInstanceTypes",
    "DescribeImages",
    "DescribeInstances",
    "DescribeTags",
    "DescribeWarmPool",
    "SetInstanceProtection",
    "DescribeSpotPriceHistory",
    "SetInstanceHealth",
    "GetInstanceTypesFromInstanceRequirements",
    "DescribeSecurityGroups",
    "DescribeSnapshots",
    "DescribeSubnets",
    "GetConsoleOutput",
    "CopyImage",
    "CreateImage",
    "CreateSecurityGroup",
    "CreateTags",
    "RunInstances",
    "DeleteSecurityGroup",
    "DeleteSnapshot",
    "DeregisterImage",
    "ModifyImageAttribute",
    "TerminateInstances",
];

/// Actions that moto has no part for, so that it can neither allow nor deny them; it denies the
/// calls of EKS whatever a policy says, asks for no leave to pass a role, and for none to use a key in
/// somebody's name, as EC2 does with those of images.
const NOT_IN_MOTO: [&str; 16] = [
    "autoscaling:DescribeInstanceRefreshes",
    "autoscaling:LaunchInstances",
    "autoscaling:CompleteLifecycleAction",
    "autoscaling:RecordLifecycleActionHeartbeat",
    "ec2:CreateFleet",
    "ec2:EnableImageDeprecation",
    "eks:DescribeNodegroup",
    "iam:PassRole",
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    "pricing:GetProducts",
];

#[derive(Default)]
struct Called(Mutex<BTreeSet<String>>);

impl Observer for Called {
    fn operation(&self, _: &Operation<'_>) {}

    fn attempt(&self, attempt: &Attempt<'_>) {
        let action = format!("{}:{}", attempt.service.name(), attempt.action);
        self.0.lock().expect("no observer panics").insert(action);
    }
}

/// Point 17 of the acceptance checklist.
#[tokio::test]
async fn checklist_17_the_minimal_policy_is_enough_and_each_of_its_actions_is_needed() {
    let server = Server::start();
    let root = server
        .client(StaticCredentials {
            access_key_id: "test".to_owned(),
            secret_access_key: Secret::new("test"),
            session_token: None,
        })
        .await;
    prepare(&root).await;
    let minimal = [
        Feature::Groups,
        Feature::LaunchTemplates,
        Feature::LaunchConfigurations,
        Feature::InstanceTypes,
        Feature::Attributes,
    ];
    let granted = actions(&minimal);
    let able = user(&root, "able", &on_everything(granted.iter().copied())).await;
    // Suite `provision` has the provisioner's, what each kind of resource says when it is denied, and
    // the doctor's, which looks at the same.
    let elsewhere = [Actor::Provisioner, Actor::Doctor];
    let all: BTreeSet<&str> = Actor::ALL
        .iter()
        .filter(|actor| !elsewhere.contains(actor))
        .flat_map(|actor| actions(&actor.features()))
        .filter(|action| !NOT_IN_MOTO.contains(action))
        .collect();
    let mut lacking = Vec::new();
    for action in &all {
        let others = all.iter().copied().filter(|other| other != action);
        let name = action.replace(':', "-");
        lacking.push((*action, user(&root, &name, &on_everything(others)).await));
    }
    let full = user(&root, "full", &on_everything(all.iter().copied())).await;
    server.enforce_policies();

    // Enough: all that the provider does, without an error.
    let called = Arc::new(Called::default());
    let client = server.client_with(able, called.clone()).await;
    let specs = ["web", "old"].map(|name| NodeGroupSpec {
        min_size: 0,
        max_size: 5,
        name: name.to_owned(),
    });
    let aws = Aws::with_client(
        client,
        Membership::new(&specs, &[], DiscoveryMode::All),
        TemplateSettings::default(),
        ActionSettings::default(),
    );
    let report = aws.refresh().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert!(
        report.template_errors.is_empty(),
        "{:?}",
        report.template_errors
    );
    aws.increase("web", 3).await.expect("an increase");
    let victim = aws.node_groups()[1].instances[0].provider_id.clone();
    aws.learn(&[Node {
        provider_id: victim.clone(),
        ..Node::default()
    }]);
    aws.terminate("web", &victim, Floor::GroupMinimum)
        .await
        .expect("a termination");
    let called: BTreeSet<String> = called.0.lock().expect("no observer panics").clone();
    // Activities are read while instances are outstanding, and types by attributes asked for where
    // groups have some: in moto neither comes about.
    let not_here = [
        "autoscaling:DescribeScalingActivities",
        "ec2:GetInstanceTypesFromInstanceRequirements",
    ];
    let needed: BTreeSet<String> = granted
        .iter()
        .filter(|action| !not_here.contains(action))
        .map(|action| (*action).to_owned())
        .collect();
    assert_eq!(called, needed);

    // Needed: without it the action is denied, with it it is not.
    let full = server.client(full).await;
    for (action, credentials) in lacking {
        let without = server.client(credentials).await;
        let denied = attempt(&without, action).await.expect_err(action);
        assert_eq!(denied.class(), ErrorClass::Denied, "{action}: {denied}");
        if let Err(error) = attempt(&full, action).await {
            assert_ne!(error.class(), ErrorClass::Denied, "{action}: {error}");
        }
    }
}
