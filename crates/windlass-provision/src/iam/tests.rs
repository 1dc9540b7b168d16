use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn place() -> Place {
    Place {
        key: Some("arn:aws:kms:eu-west-1:123456789012:key/1".to_owned()),
        other_groups: vec!["k8s-workers".to_owned()],
        images: Images {
            named: vec!["/golden/named".to_owned()],
            source: Some("/golden/source".to_owned()),
            announced: Some("/golden/announced".to_owned()),
            copies: vec!["eu-central-1".to_owned()],
            keys: vec![
                ("eu-west-1".to_owned(), "3".to_owned()),
                ("eu-central-1".to_owned(), "alias/images".to_owned()),
            ],
            profile: None,
        },
        ..Place::new("eu-west-1", "123456789012", "prod")
    }
}

fn verdict(document: &Value, action: &str, resource: &str, context: &[(&str, &str)]) -> Verdict {
    evaluate(document, &Request::new(action, resource, context)).unwrap()
}

const GROUP: &str = "arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:\
                     uuid-1:autoScalingGroupName/workers";
const TAG: &str = "aws:ResourceTag/k8s.io/cluster-autoscaler/prod";
const OTHER_TAG: &str = "aws:ResourceTag/k8s.io/cluster-autoscaler/test";

/// The tag of a thing's owner.
const OWNER: &str = "aws:ResourceTag/windlass.dev/cluster";
/// The same tag, where it is being set.
const REQUEST: &str = "aws:RequestTag/windlass.dev/cluster";
const TEMPLATE: &str = "arn:aws:ec2:eu-west-1:123456789012:launch-template/lt-1";
const SECURITY_GROUP: &str = "arn:aws:ec2:eu-west-1:123456789012:security-group/sg-1";
const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/2";

/// A thing that is the cluster's by a tag: not without it, not with another cluster's, not in
/// another account.
fn tagged(arn: &str, tag: &'static str) -> Things {
    let owned = |text: &str| text.to_owned();
    (
        (owned(arn), vec![(tag, owned("prod"))]),
        vec![
            (owned(arn), vec![]),
            (owned(arn), vec![(tag, owned("test"))]),
            (
                arn.replace("123456789012", "210987654321"),
                vec![(tag, owned("prod"))],
            ),
        ],
    )
}

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
        Scope::JoinParameters | Scope::JoinParameter => (
            (owned(parameter), vec![]),
            vec![
                (parameter.replace("prod", "test"), vec![]),
                (format!("{parameter}/other"), vec![]),
            ],
        ),
        Scope::AmiFleet => (
            (owned("arn:aws:ec2:eu-central-1::image/ami-1"), vec![]),
            vec![
                (
                    owned("arn:aws:ec2:eu-central-1:123456789012:instance/i-1"),
                    vec![],
                ),
                (owned("arn:aws:ec2:us-east-1::image/ami-1"), vec![]),
                (
                    owned("arn:aws:ec2:eu-west-1:210987654321:subnet/subnet-1"),
                    vec![],
                ),
            ],
        ),
        Scope::NamedImages | Scope::SourceParameters => {
            let arn = |name: &str| format!("arn:aws:ssm:eu-west-1:123456789012:parameter/{name}");
            let (own, other) = match scope {
                Scope::NamedImages => ("golden/named", "golden/source"),
                _ => ("golden/source", "golden/named"),
            };
            (
                (arn(own), vec![]),
                vec![
                    (arn(other), vec![]),
                    (arn("golden/announced"), vec![]),
                    (owned(parameter), vec![]),
                ],
            )
        }
        Scope::AmiKeys => {
            let key = KEY.replace("key/2", "key/3");
            let through = |service: &str| {
                let host = format!("{service}.eu-west-1.amazonaws.com");
                vec![("kms:ViaService", host)]
            };
            (
                (key.clone(), through("ec2")),
                vec![
                    (key.clone(), vec![]),
                    (key, through("ssm")),
                    (owned(KEY), through("ec2")),
                ],
            )
        }
        Scope::AmiKeysByAlias => {
            let key = KEY.replace("eu-west-1", "eu-central-1");
            let context = |region: &str, alias: &str| {
                vec![
                    ("kms:ViaService", format!("ec2.{region}.amazonaws.com")),
                    ("kms:ResourceAliases", owned(alias)),
                ]
            };
            (
                (key.clone(), context("eu-central-1", "alias/images")),
                vec![
                    (key.clone(), context("eu-central-1", "alias/other")),
                    (key.clone(), context("us-east-1", "alias/images")),
                    (owned(KEY), context("eu-central-1", "alias/images")),
                    (key, vec![]),
                ],
            )
        }
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
        Scope::Lock => (
            (
                owned("arn:aws:ssm:eu-west-1:123456789012:parameter/windlass/prod/lock"),
                vec![],
            ),
            vec![(
                owned("arn:aws:ssm:eu-west-1:123456789012:parameter/windlass/test/lock"),
                vec![],
            )],
        ),
        Scope::NodeRole | Scope::NodeProfile | Scope::AmiRoleItself | Scope::AmiProfile => {
            let kind = match scope {
                Scope::NodeRole | Scope::AmiRoleItself => "role",
                _ => "instance-profile",
            };
            let whose = match scope {
                Scope::NodeRole | Scope::NodeProfile => "node",
                _ => "ami",
            };
            let arn = format!("arn:aws:iam::123456789012:{kind}/prod-windlass-{whose}");
            (
                (arn.clone(), vec![]),
                vec![
                    (arn.replace("prod", "test"), vec![]),
                    (arn.replace(&format!("windlass-{whose}"), "admin"), vec![]),
                ],
            )
        }
        Scope::PassedNodeRole => {
            let role = owned("arn:aws:iam::123456789012:role/prod-windlass-node");
            let passed = |to: &str| vec![("iam:PassedToService", owned(to))];
            (
                (role.clone(), passed("ec2.amazonaws.com")),
                vec![
                    (role.clone(), passed("lambda.amazonaws.com")),
                    (role.clone(), vec![]),
                    (role.replace("-node", "-ami"), passed("ec2.amazonaws.com")),
                ],
            )
        }
        Scope::NewGroups => {
            let group = GROUP.replace("/workers", "/prod-workers");
            (
                (group.clone(), vec![(REQUEST, owned("prod"))]),
                vec![
                    (group.clone(), vec![]),
                    (group, vec![(REQUEST, owned("test"))]),
                    // Of another owner, and of another cluster's names.
                    (
                        GROUP.replace("/workers", "/test-workers"),
                        vec![(REQUEST, owned("prod")), (OWNER, owned("test"))],
                    ),
                ],
            )
        }
        Scope::OrphanGroups => (
            (owned(GROUP), vec![(REQUEST, owned("prod"))]),
            vec![
                (
                    owned(GROUP),
                    vec![(REQUEST, owned("prod")), (OWNER, owned("test"))],
                ),
                (owned(GROUP), vec![(REQUEST, owned("test"))]),
                (owned(GROUP), vec![]),
            ],
        ),
        Scope::OwnGroups => tagged(GROUP, OWNER),
        Scope::NewTemplates => tagged(TEMPLATE, REQUEST),
        Scope::OwnTemplates => tagged(TEMPLATE, OWNER),
        Scope::TagsOfNew => {
            let made = |by: &str, cluster: &str| {
                vec![("ec2:CreateAction", owned(by)), (REQUEST, owned(cluster))]
            };
            let instance = owned("arn:aws:ec2:eu-west-1:123456789012:instance/i-1");
            (
                (instance.clone(), made("RunInstances", "prod")),
                vec![
                    (instance.clone(), made("RunInstances", "test")),
                    (instance.clone(), made("CreateVolume", "prod")),
                    (instance, vec![(REQUEST, owned("prod"))]),
                ],
            )
        }
        Scope::NewSecurityGroups => tagged(SECURITY_GROUP, REQUEST),
        Scope::OwnSecurityGroups => tagged(SECURITY_GROUP, OWNER),
        Scope::Networks => {
            let vpc = "arn:aws:ec2:eu-west-1:123456789012:vpc/vpc-1";
            (
                (owned(vpc), vec![]),
                vec![
                    (vpc.replace("123456789012", "210987654321"), vec![]),
                    (vpc.replace("eu-west-1", "us-east-1"), vec![]),
                ],
            )
        }
        Scope::Launches => {
            let instance = owned("arn:aws:ec2:eu-west-1:123456789012:instance/*");
            (
                (
                    instance.clone(),
                    vec![("ec2:LaunchTemplate", owned(TEMPLATE))],
                ),
                vec![
                    (instance.clone(), vec![]),
                    (
                        instance,
                        vec![(
                            "ec2:LaunchTemplate",
                            TEMPLATE.replace("123456789012", "210987654321"),
                        )],
                    ),
                ],
            )
        }
        Scope::LaunchConfigurations => {
            let arn = owned(
                "arn:aws:autoscaling:eu-west-1:123456789012:launchConfiguration:uuid-1:\
                 launchConfigurationName/prod-workers-0123abcd",
            );
            (
                (arn.clone(), vec![]),
                vec![(arn.replace("prod", "test"), vec![])],
            )
        }
        Scope::FormerLaunchConfigurations => {
            let arn = owned(
                "arn:aws:autoscaling:eu-west-1:123456789012:launchConfiguration:uuid-1:\
                 launchConfigurationName/k8s-2019",
            );
            (
                (arn.clone(), vec![]),
                vec![(arn.replace("123456789012", "210987654321"), vec![])],
            )
        }
        Scope::NewKeys => {
            let everything = owned("*");
            (
                (everything.clone(), vec![(REQUEST, owned("prod"))]),
                vec![
                    (everything.clone(), vec![]),
                    (everything, vec![(REQUEST, owned("test"))]),
                ],
            )
        }
        Scope::TagsOfNewKeys => tagged(KEY, REQUEST),
        Scope::OwnKeys => tagged(KEY, OWNER),
        Scope::KeyAlias => (
            (
                owned("arn:aws:kms:eu-west-1:123456789012:alias/prod-windlass-join"),
                vec![],
            ),
            vec![(
                owned("arn:aws:kms:eu-west-1:123456789012:alias/aws/ssm"),
                vec![],
            )],
        ),
        Scope::Keys => (
            (owned(KEY), vec![]),
            vec![(KEY.replace("123456789012", "210987654321"), vec![])],
        ),
        Scope::ParameterKey => {
            let context = |owner: &str, of: &str| {
                vec![
                    (OWNER, owned(owner)),
                    ("kms:EncryptionContext:PARAMETER_ARN", owned(of)),
                    ("kms:ViaService", owned("ssm.eu-west-1.amazonaws.com")),
                ]
            };
            (
                (owned(KEY), context("prod", parameter)),
                vec![
                    (owned(KEY), context("test", parameter)),
                    (owned(KEY), context("prod", "arn:other")),
                    (owned(KEY), vec![(OWNER, owned("prod"))]),
                ],
            )
        }
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
                // What another statement of the same actor allows is no foreign thing to it.
                let alone = policy_of(grant);
                for (resource, context) in &foreign {
                    let own: Vec<(&str, &str)> = context
                        .iter()
                        .map(|(key, value)| (*key, value.as_str()))
                        .collect();
                    let found = verdict(&alone, action, resource, &own);
                    assert_eq!(found, Verdict::NotAllowed, "{} {resource}", grant.sid);
                    if !is_granted_twice(actor, action) {
                        check(resource, context, Verdict::NotAllowed);
                    }
                }
                cells += 1 + foreign.len();
            }
        }
    }
    assert!(200 < cells, "{cells}");
}

/// One statement by itself.
fn policy_of(grant: &Grant) -> Value {
    json!({"Statement": [statement(grant, &place()).unwrap().to_json()]})
}

/// Whether two statements of an actor have the same action.
fn is_granted_twice(actor: Actor, action: &str) -> bool {
    let features = actor.features();
    let grants = features.iter().flat_map(|feature| feature.grants());
    1 < grants
        .filter(|grant| grant.actions.contains(&action))
        .count()
}

/// Things of nobody's and of another cluster's, which no statement of the provisioner's may reach,
/// whatever its actions are.
#[test]
fn the_provisioner_changes_nothing_of_others() {
    let document = policy(&Actor::Provisioner.features(), &place());
    let others = [(OWNER, "test")];
    for (action, resource, context) in [
        ("autoscaling:CreateOrUpdateTags", GROUP, &others[..]),
        ("autoscaling:CreateOrUpdateTags", GROUP, &[]),
        ("autoscaling:UpdateAutoScalingGroup", GROUP, &[]),
        ("autoscaling:DeleteAutoScalingGroup", GROUP, &others),
        ("ec2:CreateTags", TEMPLATE, &others),
        ("ec2:CreateTags", TEMPLATE, &[(REQUEST, "prod")]),
        ("ec2:DeleteLaunchTemplate", TEMPLATE, &[]),
        ("ec2:CreateTags", SECURITY_GROUP, &[(REQUEST, "prod")]),
        ("ec2:AuthorizeSecurityGroupIngress", SECURITY_GROUP, &[]),
        ("ec2:RevokeSecurityGroupIngress", SECURITY_GROUP, &others),
        ("ec2:DeleteSecurityGroup", SECURITY_GROUP, &others),
        ("kms:ScheduleKeyDeletion", KEY, &[]),
        ("kms:ScheduleKeyDeletion", KEY, &others),
        (
            "kms:DeleteAlias",
            "arn:aws:kms:eu-west-1:123456789012:alias/test",
            &[],
        ),
        ("kms:Decrypt", KEY, &[(OWNER, "prod")]),
        (
            "ssm:GetParameter",
            "arn:aws:ssm:eu-west-1:123456789012:parameter/windlass/prod/join",
            &[],
        ),
        (
            "ssm:DeleteParameter",
            "arn:aws:ssm:eu-west-1:123456789012:parameter/windlass/test/lock",
            &[],
        ),
        (
            "iam:PassRole",
            "arn:aws:iam::123456789012:role/prod-windlass-node",
            &[],
        ),
        (
            "iam:PutRolePolicy",
            "arn:aws:iam::123456789012:role/admin",
            &[],
        ),
        (
            "ec2:RunInstances",
            "arn:aws:ec2:eu-west-1:123456789012:instance/*",
            &[],
        ),
    ] {
        let found = verdict(&document, action, resource, context);
        assert_eq!(found, Verdict::NotAllowed, "{action} {resource}");
    }
}

#[test]
fn the_plain_parameter_is_the_rotator_s_and_the_nodes_where_there_is_one() {
    let arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/jointoken";
    let with = Place {
        plain_parameter: Some("jointoken".to_owned()),
        ..place()
    };
    for (actor, action) in [
        (Actor::Rotator, "ssm:PutParameter"),
        (Actor::Rotator, "ssm:GetParameter"),
        (Actor::Node, "ssm:GetParameter"),
    ] {
        let of = |place: &Place| verdict(&policy(&actor.features(), place), action, arn, &[]);
        assert_eq!(of(&with), Verdict::Allowed, "{} {action}", actor.name());
        assert_eq!(of(&place()), Verdict::NotAllowed);
    }
    let node = policy(&Actor::Node.features(), &with);
    assert_eq!(
        verdict(&node, "ssm:PutParameter", arn, &[]),
        Verdict::NotAllowed
    );
}

#[test]
fn a_key_may_be_named_by_its_alias_or_its_id() {
    let parameter = "arn:aws:ssm:eu-west-1:123456789012:parameter/windlass/prod/join";
    let of = |key: &str, alias: &str| {
        let place = Place {
            key: Some(key.to_owned()),
            ..place()
        };
        let context = [
            ("kms:EncryptionContext:PARAMETER_ARN", parameter),
            ("kms:ViaService", "ssm.eu-west-1.amazonaws.com"),
            ("kms:ResourceAliases", alias),
        ];
        let document = policy(&Actor::Node.features(), &place);
        verdict(&document, "kms:Decrypt", KEY, &context)
    };
    assert_eq!(of("alias/prod", "alias/prod"), Verdict::Allowed);
    assert_eq!(of("alias/prod", "alias/test"), Verdict::NotAllowed);
    assert_eq!(of("2", "alias/test"), Verdict::Allowed);
    assert_eq!(of("3", "alias/prod"), Verdict::NotAllowed);
}

#[test]
fn the_how_to_s_policy_is_as_it_was() {
    let document = legacy_2019();
    let allowed = |action| verdict(&document, action, "any", &[]) == Verdict::Allowed;
    for action in [
        "autoscaling:TerminateInstanceInAutoScalingGroup",
        "ssm:DeleteParameters",
        "ssm:UpdateInstanceInformation",
    ] {
        assert!(allowed(action), "{action}");
    }
    assert!(!allowed("autoscaling:DescribeLaunchConfigurations"));
    assert!(!allowed("kms:Decrypt"));
    let actions = document["Statement"][0]["Action"].as_array().unwrap();
    assert_eq!(actions.len(), 13);
    assert_eq!(document["Statement"][0]["Resource"], "*");
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

/// Statements are shared, and what each grant allows by itself is all that they allow together.
#[test]
fn grants_share_statements_and_allow_what_they_did() {
    for actor in Actor::ALL {
        let document = policy(&actor.features(), &place());
        let statements = document["Statement"].as_array().unwrap();
        let features = actor.features();
        let grants: Vec<&Grant> = features.iter().flat_map(|it| it.grants()).collect();
        let pairs = |statement: &Value| -> Vec<String> {
            let words = |value: &Value| match value {
                Value::Array(many) => many.clone(),
                one => vec![one.clone()],
            };
            let condition = statement.get("Condition");
            let resources = words(&statement["Resource"]);
            let actions = words(&statement["Action"]);
            let of_action = |action: Value| {
                let resources = resources.iter();
                resources
                    .map(|resource| format!("{action} {resource} {condition:?}"))
                    .collect::<Vec<_>>()
            };
            actions.into_iter().flat_map(of_action).collect()
        };
        let shared: BTreeSet<String> = statements.iter().flat_map(pairs).collect();
        let alone: BTreeSet<String> = grants
            .iter()
            .flat_map(|grant| pairs(&policy_of(grant)["Statement"][0]))
            .collect();
        assert_eq!(shared, alone, "{}", actor.name());
    }
    let all = Actor::Provisioner.features();
    let grants = all.iter().flat_map(|it| it.grants()).count();
    let document = policy(&all, &place());
    let statements = document["Statement"].as_array().unwrap().len();
    assert!(statements < grants, "{statements} of {grants}");
}

/// The sample's policies may be managed ones.
#[test]
fn the_sample_s_policies_are_short_enough_for_aws() {
    let text = include_str!("../../../../examples/cluster.yaml");
    let config = crate::cluster_config::ClusterConfig::read("cluster.yaml", text).unwrap();
    for actor in Actor::ALL {
        let features = actor.chosen(&[], Some(&config)).unwrap();
        let length = characters(&policy(&features, &config.place("123456789012")));
        assert!(length <= MOST_CHARACTERS, "{}: {length}", actor.name());
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
            // AWS knows no resource for making a key; what the key is to be tagged with limits it.
            let is_limited = statement["Condition"]["StringEquals"][REQUEST] == "prod";
            if statement["Resource"] != "*" || is_limited {
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
        include_str!("../../../windlass-aws-client/src/autoscaling/provision.rs"),
        include_str!("../../../windlass-aws-client/src/autoscaling/instance_refreshes.rs"),
        include_str!("../../../windlass-aws-client/src/autoscaling/launch_configurations.rs"),
        include_str!("../../../windlass-aws-client/src/ec2/template_content.rs"),
        include_str!("../../../windlass-aws-client/src/iam.rs"),
        include_str!("../../../windlass-aws-client/src/iam/provision.rs"),
        include_str!("../../../windlass-aws-client/src/kms.rs"),
        include_str!("../../../windlass-aws-client/src/ssm/provision.rs"),
        include_str!("../../../windlass-aws-client/src/tagging.rs"),
        include_str!("../../../windlass-aws-client/src/ec2.rs"),
        include_str!("../../../windlass-aws-client/src/ec2/images.rs"),
        include_str!("../../../windlass-aws-client/src/ec2/instance_types.rs"),
        include_str!("../../../windlass-aws-client/src/ec2/instances.rs"),
        include_str!("../../../windlass-aws-client/src/ec2/launch_templates.rs"),
        include_str!("../../../windlass-aws-client/src/ec2/requirements.rs"),
        include_str!("../../../windlass-aws-client/src/ec2/security_groups.rs"),
        include_str!("../../../windlass-aws-client/src/eks.rs"),
        include_str!("../../../windlass-aws-client/src/pricing.rs"),
        include_str!("../../../windlass-aws-client/src/ssm.rs"),
    ];
    let documented: String = sources
        .iter()
        .flat_map(|source| source.lines())
        .filter(|line| line.trim_start().starts_with("///"))
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
