use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn place() -> Place {
    Place {
        key: Some("arn:aws:kms:eu-west-1:123456789012:key/1".to_owned()),
        ..Place::new("eu-west-1", "123456789012", "prod")
    }
}

fn verdict(document: &Value, action: &str, resource: &str, context: &[(&str, &str)]) -> Verdict {
    let request = Request {
        action: action.to_owned(),
        resource: resource.to_owned(),
        context: context
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    };
    evaluate(document, &request).unwrap()
}

const GROUP: &str = "arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:\
                     uuid-1:autoScalingGroupName/workers";
const TAG: &str = "aws:ResourceTag/k8s.io/cluster-autoscaler/prod";
const OTHER_TAG: &str = "aws:ResourceTag/k8s.io/cluster-autoscaler/test";

/// What an action is done to, with the condition keys that AWS has for it: the cluster's own, and
/// what is not.
type Things = (
    (String, Vec<(&'static str, String)>),
    Vec<(String, Vec<(&'static str, String)>)>,
);

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn things(scope: Scope) -> Option<Things> {
    let owned = |text: &str| text.to_owned();
    let parameter = "arn:aws:ssm:eu-west-1:123456789012:parameter/windlass/prod/join";
    Some(match scope {
        Scope::Everything => return None,
        Scope::Groups => (
            (owned(GROUP), vec![(TAG, owned("owned"))]),
            vec![
                (owned(GROUP), vec![]),
                (owned(GROUP), vec![(OTHER_TAG, owned("owned"))]),
                (
                    GROUP.replace("123456789012", "210987654321"),
                    vec![(TAG, owned("owned"))],
                ),
            ],
        ),
        Scope::Nodegroups => (
            (
                owned("arn:aws:eks:eu-west-1:123456789012:nodegroup/prod/workers/uuid-1"),
                vec![],
            ),
            vec![(
                owned("arn:aws:eks:eu-west-1:123456789012:nodegroup/test/workers/uuid-1"),
                vec![],
            )],
        ),
        Scope::Fleet => (
            (
                owned("arn:aws:ec2:eu-west-1:123456789012:fleet/fleet-1"),
                vec![],
            ),
            vec![
                (
                    owned("arn:aws:ec2:us-east-1:123456789012:fleet/fleet-1"),
                    vec![],
                ),
                (
                    owned("arn:aws:ec2:eu-west-1:210987654321:subnet/subnet-1"),
                    vec![],
                ),
            ],
        ),
        Scope::ImageParameters => (
            (
                owned("arn:aws:ssm:eu-west-1::parameter/aws/service/eks/optimized-ami/image_id"),
                vec![],
            ),
            vec![(owned(parameter), vec![])],
        ),
        Scope::JoinParameter => (
            (owned(parameter), vec![]),
            vec![
                (parameter.replace("prod", "test"), vec![]),
                (format!("{parameter}/other"), vec![]),
            ],
        ),
        Scope::AmiMade => {
            let tag = vec![("aws:ResourceTag/windlass.dev/build", owned("b1"))];
            let instance = owned("arn:aws:ec2:eu-west-1:123456789012:instance/i-1");
            (
                (instance.clone(), tag.clone()),
                vec![
                    (instance, vec![]),
                    (
                        owned("arn:aws:ec2:eu-west-1:210987654321:instance/i-1"),
                        tag,
                    ),
                ],
            )
        }
        Scope::AmiRole => {
            let role = owned("arn:aws:iam::123456789012:role/prod-windlass-ami");
            let passed = |to: &str| vec![("iam:PassedToService", owned(to))];
            (
                (role.clone(), passed("ec2.amazonaws.com")),
                vec![
                    (role.clone(), passed("lambda.amazonaws.com")),
                    (
                        role.replace("windlass-ami", "admin"),
                        passed("ec2.amazonaws.com"),
                    ),
                ],
            )
        }
        Scope::AmiReports => (
            (
                owned("arn:aws:ssm:eu-west-1:123456789012:parameter/windlass/ami/b1/report"),
                vec![],
            ),
            vec![(owned(parameter), vec![])],
        ),
        Scope::AmiParameters => (
            (
                owned("arn:aws:ssm:eu-west-1:123456789012:parameter/windlass/prod/image/amd64"),
                vec![],
            ),
            vec![(owned(parameter), vec![])],
        ),
        Scope::JoinKey => {
            let key = owned("arn:aws:kms:eu-west-1:123456789012:key/1");
            let context = |of: &str, via: &str| {
                vec![
                    ("kms:EncryptionContext:PARAMETER_ARN", owned(of)),
                    ("kms:ViaService", owned(via)),
                ]
            };
            let ssm = "ssm.eu-west-1.amazonaws.com";
            (
                (key.clone(), context(parameter, ssm)),
                vec![
                    (key.clone(), context("arn:other", ssm)),
                    (
                        key.clone(),
                        context(parameter, "s3.eu-west-1.amazonaws.com"),
                    ),
                    (key.clone(), vec![]),
                    (key.replace("key/1", "key/2"), context(parameter, ssm)),
                ],
            )
        }
    })
}

/// Every action of every actor, on its own thing and on foreign ones.
#[test]
fn each_action_is_allowed_on_the_cluster_s_own_and_on_nothing_else() {
    let mut cells = 0;
    for actor in Actor::ALL {
        let document = policy(&actor.features(), &place());
        for grant in actor.features().iter().flat_map(|feature| feature.grants()) {
            for action in grant.actions {
                let Some(((own, context), foreign)) = things(grant.scope) else {
                    assert_eq!(verdict(&document, action, "*", &[]), Verdict::Allowed);
                    cells += 1;
                    continue;
                };
                let borrowed = |context: &[(&'static str, String)]| -> Vec<(&str, String)> {
                    context.to_vec()
                };
                let check = |resource: &str, context: &[(&'static str, String)], expected| {
                    let context = borrowed(context);
                    let context: Vec<(&str, &str)> = context
                        .iter()
                        .map(|(key, value)| (*key, value.as_str()))
                        .collect();
                    let found = verdict(&document, action, resource, &context);
                    assert_eq!(found, expected, "{} {action} {resource}", actor.name());
                };
                check(&own, &context, Verdict::Allowed);
                for (resource, context) in &foreign {
                    check(resource, context, Verdict::NotAllowed);
                }
                cells += 1 + foreign.len();
            }
        }
    }
    assert!(60 < cells, "{cells}");
}

#[test]
fn a_rendered_policy_lacks_nothing_of_what_it_was_rendered_for() {
    for actor in Actor::ALL {
        let document = policy(&actor.features(), &place());
        for feature in actor.features() {
            for (action, request) in needs(feature, &place()) {
                assert_eq!(
                    evaluate(&document, &request),
                    Ok(Verdict::Allowed),
                    "{action}"
                );
            }
            let others: Vec<Feature> = actor
                .features()
                .into_iter()
                .filter(|other| *other != feature)
                .collect();
            let without = policy(&others, &place());
            assert!(
                needs(feature, &place())
                    .iter()
                    .any(|(_, request)| evaluate(&without, request) != Ok(Verdict::Allowed)),
                "{} adds nothing",
                feature.name()
            );
        }
    }
}

#[test]
fn no_actor_may_do_what_is_another_s() {
    let all: BTreeSet<&str> = actions(&Feature::ALL);
    for actor in Actor::ALL {
        let document = policy(&actor.features(), &place());
        let own = actions(&actor.features());
        for action in all.difference(&own) {
            assert_eq!(
                verdict(&document, action, GROUP, &[(TAG, "owned")]),
                Verdict::NotAllowed,
                "{} {action}",
                actor.name()
            );
        }
        for foreign in [
            "autoscaling:DeleteAutoScalingGroup",
            "ec2:RunInstances",
            "iam:PassRole",
        ] {
            assert_eq!(
                verdict(&document, foreign, GROUP, &[(TAG, "owned")]),
                Verdict::NotAllowed
            );
        }
    }
}

fn actions(features: &[Feature]) -> BTreeSet<&'static str> {
    features
        .iter()
        .flat_map(|feature| feature.grants())
        .flat_map(|grant| grant.actions)
        .copied()
        .collect()
}

#[test]
fn nothing_that_changes_anything_is_on_everything() {
    for actor in Actor::ALL {
        for statement in policy(&actor.features(), &place())["Statement"]
            .as_array()
            .unwrap()
        {
            if statement["Resource"] != "*" {
                continue;
            }
            for action in statement["Action"].as_array().unwrap() {
                let verb = action.as_str().unwrap().split(':').nth(1).unwrap();
                assert!(
                    verb.starts_with("Describe") || verb.starts_with("Get"),
                    "{action}"
                );
            }
        }
    }
}

#[test]
fn groups_may_be_named_and_the_tag_may_need_a_value() {
    let named = policy(
        &[Feature::Groups],
        &Place {
            groups: vec!["workers".to_owned()],
            ..place()
        },
    );
    let resize = "autoscaling:SetDesiredCapacity";
    assert_eq!(verdict(&named, resize, GROUP, &[]), Verdict::Allowed);
    let other = GROUP.replace("/workers", "/others");
    assert_eq!(
        verdict(&named, resize, &other, &[(TAG, "owned")]),
        Verdict::NotAllowed
    );
    let valued = policy(
        &[Feature::Groups],
        &Place {
            tag_value: Some("owned".to_owned()),
            ..place()
        },
    );
    assert_eq!(
        verdict(&valued, resize, GROUP, &[(TAG, "owned")]),
        Verdict::Allowed
    );
    assert_eq!(
        verdict(&valued, resize, GROUP, &[(TAG, "true")]),
        Verdict::NotAllowed
    );
}

#[test]
fn partitions_follow_the_region_and_aws_s_own_key_needs_no_grant() {
    let china = Place::new("cn-north-1", "123456789012", "prod");
    let document = policy(&Actor::Node.features(), &china);
    let text = document.to_string();
    assert!(text.contains("arn:aws-cn:ssm:cn-north-1:123456789012:parameter/windlass/prod/join"));
    assert!(!text.contains("kms:"));
}

#[test]
fn names_are_unique_and_statements_too() {
    let mut names = BTreeMap::new();
    let mut sids = BTreeSet::new();
    for feature in Feature::ALL {
        assert_eq!(names.insert(feature.name(), feature), None);
        for grant in feature.grants() {
            assert!(sids.insert(grant.sid), "{}", grant.sid);
        }
    }
}

/// None is granted that no call needs, as the calls' own documentation has it.
#[test]
fn every_action_is_one_that_the_client_calls() {
    let sources = [
        include_str!("../../../windlass-aws-client/src/autoscaling.rs"),
        include_str!("../../../windlass-aws-client/src/ec2.rs"),
        include_str!("../../../windlass-aws-client/src/ec2/images.rs"),
        include_str!("../../../windlass-aws-client/src/ec2/instance_types.rs"),
        include_str!("../../../windlass-aws-client/src/ec2/instances.rs"),
        include_str!("../../../windlass-aws-client/src/ec2/launch_templates.rs"),
        include_str!("../../../windlass-aws-client/src/ec2/requirements.rs"),
        include_str!("../../../windlass-aws-client/src/eks.rs"),
        include_str!("../../../windlass-aws-client/src/pricing.rs"),
        include_str!("../../../windlass-aws-client/src/ssm.rs"),
    ];
    let documented: String = sources
        .iter()
        .flat_map(|source| source.lines())
        .filter(|line| line.contains("/// IAM: "))
        .collect();
    for action in actions(&Feature::ALL) {
        assert!(documented.contains(&format!("`{action}`")), "{action}");
    }
}

#[test]
fn generated_iam_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/iam.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap_or_default(),
        page(),
        "docs/iam.md is stale: cargo xtask gen"
    );
}
