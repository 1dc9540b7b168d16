use super::*;
use crate::cluster_config::ClusterConfig;
use crate::provision::desired::{Facts, desired};
use crate::provision::resource::{Grant, Hook, LaunchTemplate};

const CLUSTER: &str = "\
apiVersion: windlass.dev/v1alpha1
kind: Cluster
spec:
  cluster: prod
  region: us-west-2
  endpoint: api.example.com:443
  kubernetes: v1.36.3
  subnets: [subnet-1]
  securityGroups: [sg-1]
  defaults: {image: {id: ami-1}, instanceType: m7i.large}
  join: {lifecycleHook: {}}
  groups:
  - {name: web, min: 0, max: 3, labels: {tier: web}, taints: ['a=b:NoSchedule']}
";

fn wanted(text: &str) -> Resources {
    let config = ClusterConfig::read("cluster.yaml", text).unwrap();
    let facts = Facts {
        account: "123456789012".to_owned(),
        images: [("web".to_owned(), "ami-1".to_owned())].into(),
        zones: [("subnet-1", "us-west-2a"), ("subnet-2", "us-west-2b")]
            .map(|(subnet, zone)| (subnet.to_owned(), zone.to_owned()))
            .into(),
        ..Facts::default()
    };
    desired(&config, &facts).unwrap()
}

/// What AWS has after `wanted` was applied.
fn applied(wanted: &Resources) -> Resources {
    let mut found = completed(wanted, &Resources::new());
    for resource in found.values_mut() {
        if let Resource::LaunchTemplate(template) = resource {
            template.version = Some(1);
        }
    }
    found
}

fn group(resources: &mut Resources) -> &mut Group {
    resources
        .values_mut()
        .find_map(|resource| match resource {
            Resource::Group(group) => Some(&mut **group),
            _ => None,
        })
        .unwrap()
}

fn template(resources: &mut Resources) -> &mut LaunchTemplate {
    resources
        .values_mut()
        .find_map(|resource| match resource {
            Resource::LaunchTemplate(template) => Some(&mut **template),
            _ => None,
        })
        .unwrap()
}

fn compare_with(found: &Resources) -> Plan {
    plan("prod", &wanted(CLUSTER), found, Allowed::default())
}

/// Changes one thing behind Windlass's back, and expects the plan to name it and nothing else.
#[track_caller]
fn check(edit: impl FnOnce(&mut Resources), path: &str) {
    let mut found = applied(&wanted(CLUSTER));
    edit(&mut found);
    let plan = compare_with(&found);
    let paths: Vec<&str> = plan
        .changes
        .iter()
        .flat_map(|change| change.fields.iter().map(|field| field.path.as_str()))
        .collect();
    assert_eq!(paths, [path], "{}", plan.to_text());
}

#[test]
fn from_nothing_everything_is_made_in_the_order_of_its_needs() {
    let plan = compare_with(&Resources::new());
    let order: Vec<String> = plan
        .changes
        .iter()
        .map(|change| format!("{:?} {}", change.action, change.id))
        .collect();
    assert_eq!(
        order,
        [
            "Create role `prod-windlass-node`",
            "Create instance profile `prod-windlass-node`",
            "Create parameter `/windlass/prod/join`",
            "Create launch template `prod-web`",
            "Create Auto Scaling group `prod-web`",
        ]
    );
    let text = plan.to_text();
    assert!(
        text.ends_with("\nPlan: 5 to create, 0 to change, 0 to destroy.\n"),
        "{text}"
    );
    assert!(text.contains("    max: 3\n"), "{text}");
}

#[test]
fn what_is_as_it_should_be_needs_nothing() {
    let plan = compare_with(&applied(&wanted(CLUSTER)));
    assert!(plan.is_empty(), "{}", plan.to_text());
    assert_eq!(
        plan.to_text(),
        "No changes: cluster `prod` is as the file says.\n"
    );
}

#[test]
fn each_field_that_was_changed_by_hand_is_named() {
    check(|found| group(found).max = 9, "max");
    check(|found| group(found).min = 1, "min");
    check(
        |found| group(found).health_check_grace_seconds = 0,
        "health_check_grace_seconds",
    );
    check(|found| group(found).suspended.clear(), "suspended");
    check(
        |found| group(found).version = Some("7".to_owned()),
        "version",
    );
    check(
        |found| {
            group(found).subnets.insert("subnet-9".to_owned());
        },
        "subnets",
    );
    check(
        |found| {
            let hooks = &mut group(found).hooks;
            hooks.get_mut("windlass-join").unwrap().timeout_seconds = 30;
        },
        "hooks.windlass-join.timeout_seconds",
    );
    check(
        |found| {
            let tags = &mut group(found).tags;
            tags.get_mut("k8s.io/cluster-autoscaler/prod")
                .unwrap()
                .propagate = true;
        },
        "tags[k8s.io/cluster-autoscaler/prod]",
    );
    check(
        |found| {
            let Some(Resource::Role(role)) = found.values_mut().next() else {
                panic!("a role comes first");
            };
            role.trust["Statement"][0]["Action"] = json!("sts:TagSession");
        },
        "trust.Statement[0].Action",
    );
}

#[test]
fn what_others_added_is_left_alone() {
    let mut found = applied(&wanted(CLUSTER));
    let group = group(&mut found);
    let theirs = Grant {
        value: "x".to_owned(),
        propagate: true,
    };
    group.tags.insert("cost-center".to_owned(), theirs);
    group.hooks.insert("their-hook".to_owned(), Hook::default());
    group.suspended.insert("AlarmNotification".to_owned());
    group.instances = 2;
    assert!(compare_with(&found).is_empty());
}

#[test]
fn a_node_template_tag_that_the_file_does_not_have_is_removed() {
    let mut found = applied(&wanted(CLUSTER));
    let key = "k8s.io/cluster-autoscaler/node-template/label/old";
    let grant = Grant {
        value: "x".to_owned(),
        propagate: false,
    };
    group(&mut found).tags.insert(key.to_owned(), grant);
    let text = compare_with(&found).to_text();
    assert!(text.contains(&format!("tags[{key}]: x → (none)")), "{text}");
}

#[test]
fn a_template_that_changes_takes_its_group_along() {
    let mut found = applied(&wanted(CLUSTER));
    template(&mut found).content.image_id = Some("ami-0".to_owned());
    template(&mut found).version = Some(4);
    group(&mut found).version = Some("4".to_owned());
    let text = compare_with(&found).to_text();
    assert!(text.contains("content.image_id: ami-0 → ami-1"), "{text}");
    assert!(text.contains("version: 4 → 5"), "{text}");
    assert!(text.contains("windlass provision roll"), "{text}");
}

#[test]
fn user_data_is_compared_line_by_line() {
    let found = applied(&wanted(&CLUSTER.replace("tier: web", "tier: old")));
    let text = compare_with(&found).to_text();
    let added = text
        .lines()
        .any(|line| line.trim_start().starts_with('+') && line.contains("tier=web"));
    assert!(added && text.contains("content.user_data:\n"), "{text}");
}

#[test]
fn a_namesake_that_is_not_ours_is_never_touched() {
    let mut found = applied(&wanted(CLUSTER));
    group(&mut found).tags.clear();
    let plan = compare_with(&found);
    assert_eq!(plan.attention().count(), 1);
    assert!(plan.to_text().contains("windlass provision import"));
    group(&mut found).tags.insert(
        crate::provision::OWNER_TAG.to_owned(),
        Grant {
            value: "staging".to_owned(),
            propagate: false,
        },
    );
    assert!(
        compare_with(&found)
            .to_text()
            .contains("belongs to cluster `staging`")
    );
    let destruction = destruction("prod", &found, KeyFate::Kept);
    let group_change = destruction
        .changes
        .iter()
        .find(|change| change.id.kind == ResourceKind::AutoScalingGroup)
        .unwrap();
    assert_eq!(group_change.action, Action::Attention);
}

#[test]
fn instances_are_not_ended_by_lowering_max_unless_that_is_allowed() {
    let mut found = applied(&wanted(CLUSTER));
    group(&mut found).max = 9;
    group(&mut found).instances = 5;
    let refused = compare_with(&found);
    assert_eq!(refused.attention().count(), 1);
    assert!(refused.to_text().contains("would end 2 of its own choice"));
    let allowed = plan(
        "prod",
        &wanted(CLUSTER),
        &found,
        Allowed {
            shrink: true,
            ..Allowed::default()
        },
    );
    assert_eq!(allowed.attention().count(), 0);
}

#[test]
fn a_launch_configuration_is_left_for_migrate() {
    let mut found = applied(&wanted(CLUSTER));
    let old = group(&mut found);
    old.launch_configuration = Some("k8s-2019".to_owned());
    (old.launch_template, old.version) = (None, None);
    let refused = compare_with(&found);
    assert!(refused.to_text().contains("windlass provision migrate"));
    let migrate = Allowed {
        migrate: true,
        ..Allowed::default()
    };
    let plan = plan("prod", &wanted(CLUSTER), &found, migrate);
    assert_eq!(plan.attention().count(), 0);
    let text = plan.to_text();
    assert!(
        text.contains("launch_configuration: k8s-2019 → (none)"),
        "{text}"
    );
    assert!(text.contains("0 to destroy"), "{text}");
    let tag = "tags[windlass.dev/migrated-from]: (none) → k8s-2019";
    assert!(text.contains(tag), "{text}");
}

/// Of Windlass's own launch configurations, too, the way back stays when the group is moved.
#[test]
fn what_a_group_had_before_is_remembered_and_stays() {
    let old = applied(&wanted(&with_configuration()));
    let new = wanted(CLUSTER);
    let migrate = Allowed {
        migrate: true,
        ..Allowed::default()
    };
    let moving = plan("prod", &new, &old, migrate);
    assert_eq!(moving.attention().count(), 0, "{}", moving.to_text());
    assert!(moving.to_text().contains("0 to destroy"));
    // It is there still because another group has one of the same kind, so all are looked at.
    let kept = |id: &ResourceId| id.kind == ResourceKind::LaunchConfiguration;
    let mut moved = applied(&completed(&new, &old));
    moved.extend(old.into_iter().filter(|(id, _)| kept(id)));
    let rest = plan("prod", &new, &moved, Allowed::default());
    assert!(rest.is_empty(), "{}", rest.to_text());
    // Nothing tells any more that it is to stay.
    group(&mut moved).tags.remove(crate::provision::FORMER_TAG);
    let rest = plan("prod", &new, &moved, Allowed::default());
    let [change] = &rest.changes[..] else {
        panic!("{}", rest.to_text());
    };
    assert_eq!(change.action, Action::Destroy);
}

#[test]
fn what_the_file_no_longer_has_is_told_and_not_deleted() {
    let found = applied(&wanted(CLUSTER));
    let without = wanted(&CLUSTER.replace(
        "  - {name: web, min: 0, max: 3, labels: {tier: web}, taints: ['a=b:NoSchedule']}\n",
        "    []\n",
    ));
    let plan = plan("prod", &without, &found, Allowed::default());
    assert_eq!(plan.attention().count(), 2, "{}", plan.to_text());
    assert!(plan.to_text().contains("not in the file any more"));
}

#[test]
fn destruction_is_in_the_reverse_order() {
    let destruction = destruction("prod", &applied(&wanted(CLUSTER)), KeyFate::Kept);
    let kinds: Vec<ResourceKind> = destruction
        .changes
        .iter()
        .map(|change| change.id.kind)
        .collect();
    assert!(kinds.is_sorted_by(|a, b| a >= b), "{kinds:?}");
    assert!(destruction.to_text().contains("5 to destroy"));
}

#[test]
fn a_plan_of_another_state_has_another_digest() {
    let mut found = applied(&wanted(CLUSTER));
    let before = compare_with(&found).state;
    group(&mut found).instances = 3;
    assert_eq!(compare_with(&found).state, before, "instances come and go");
    group(&mut found).max = 4;
    assert_ne!(compare_with(&found).state, before);
}

#[test]
fn a_policy_in_another_spelling_is_the_same() {
    let mut one = json!({ "Action": ["b", "a"], "Resource": ["x"] });
    let mut other = json!({ "Resource": "x", "Action": ["a", "b"] });
    normalize(&mut one);
    normalize(&mut other);
    assert_eq!(one, other);
}

/// A cluster whose key is made for it.
fn with_key() -> String {
    CLUSTER.replace("  groups:", "  token: {createKey: true}\n  groups:")
}

fn key(resources: &mut Resources) -> &mut crate::provision::Key {
    resources
        .values_mut()
        .find_map(|resource| match resource {
            Resource::Key(key) => Some(key),
            _ => None,
        })
        .unwrap()
}

#[test]
fn the_key_is_made_first_and_mended_in_place() {
    let wanted = wanted(&with_key());
    let all = plan("prod", &wanted, &Resources::new(), Allowed::default());
    assert_eq!(
        all.changes[0].id.to_string(),
        "KMS key `alias/prod-windlass-join`"
    );
    let clean = plan("prod", &wanted, &applied(&wanted), Allowed::default());
    assert!(clean.is_empty(), "{}", clean.to_text());
    for (edit, path) in [
        (
            (|key| key.rotation = false) as fn(&mut crate::provision::Key),
            "rotation",
        ),
        (|key| key.alias = false, "alias"),
        (
            |key| drop(key.tags.remove("windlass.dev/key")),
            "tags[windlass.dev/key]",
        ),
        (
            |key| key.policy["Statement"][0]["Effect"] = json!("Deny"),
            "policy.Statement[0].Effect",
        ),
    ] {
        let mut found = applied(&wanted);
        edit(key(&mut found));
        let plan = plan("prod", &wanted, &found, Allowed::default());
        let [change] = &plan.changes[..] else {
            panic!("{}", plan.to_text());
        };
        assert_eq!(change.action, Action::Change);
        assert_eq!(change.fields[0].path, path);
    }
    let mut found = applied(&wanted);
    key(&mut found).state = "PendingDeletion".to_owned();
    let plan = plan("prod", &wanted, &found, Allowed::default());
    assert_eq!(plan.attention().count(), 1, "{}", plan.to_text());
    assert!(plan.to_text().contains("cancel-key-deletion"));
}

#[test]
fn the_key_outlives_all_else_unless_its_end_is_asked_for() {
    let found = applied(&wanted(&with_key()));
    let is_key = |change: &Change| change.id.kind == ResourceKind::Key;
    let kept = destruction("prod", &found, KeyFate::Kept);
    assert!(!kept.changes.iter().any(is_key));
    let scheduled = destruction("prod", &found, KeyFate::Scheduled);
    assert!(scheduled.changes.last().is_some_and(is_key));
    assert!(scheduled.to_text().contains("in 30 days"));
}

/// A cluster whose group has a launch configuration.
fn with_configuration() -> String {
    CLUSTER.replace("max: 3,", "max: 3, launchConfiguration: true,")
}

#[test]
fn another_launch_configuration_takes_the_old_one_s_place() {
    let old = wanted(&with_configuration());
    let clean = plan("prod", &old, &applied(&old), Allowed::default());
    assert!(clean.is_empty(), "{}", clean.to_text());
    let new = wanted(&with_configuration().replace("tier: web", "tier: front"));
    let change = plan("prod", &new, &applied(&old), Allowed::default());
    let steps: Vec<(Action, ResourceKind)> = change
        .changes
        .iter()
        .map(|change| (change.action, change.id.kind))
        .collect();
    assert_eq!(
        steps,
        [
            (Action::Create, ResourceKind::LaunchConfiguration),
            (Action::Change, ResourceKind::AutoScalingGroup),
            (Action::Destroy, ResourceKind::LaunchConfiguration),
        ],
        "{}",
        change.to_text()
    );
    let [created, _, destroyed] = &change.changes[..] else {
        panic!("{}", change.to_text());
    };
    for id in [&created.id, &destroyed.id] {
        let digest = id.name.strip_prefix("prod-web-").unwrap();
        assert_eq!(digest.len(), 8, "{id}");
    }
    assert_ne!(created.id, destroyed.id);
    // A run that ended before the last step: the next does it.
    let mut half = applied(&new);
    half.extend(
        applied(&old)
            .into_iter()
            .filter(|(id, _)| id.kind == ResourceKind::LaunchConfiguration),
    );
    let rest = plan("prod", &new, &half, Allowed::default());
    assert!(rest.changes.len() == 1 && rest.changes[0].action == Action::Destroy);
}

#[test]
fn a_launch_configuration_of_somebody_else_stays() {
    let wanted = wanted(&with_configuration());
    let mut found = applied(&wanted);
    let foreign = ResourceId {
        kind: ResourceKind::LaunchConfiguration,
        name: "prod-web-0badcafe".to_owned(),
    };
    let configuration = crate::provision::LaunchConfiguration::default();
    found.insert(
        foreign.clone(),
        Resource::LaunchConfiguration(Box::new(configuration)),
    );
    let clean = plan("prod", &wanted, &found, Allowed::default());
    assert!(clean.is_empty(), "{}", clean.to_text());
    let all = destruction("prod", &found, KeyFate::Kept);
    let change = all.changes.iter().find(|change| change.id == foreign);
    assert_eq!(change.unwrap().action, Action::Attention);
}

#[test]
fn a_zonal_group_is_one_group_for_each_zone() {
    let text = CLUSTER
        .replace("[subnet-1]", "[subnet-1, subnet-2]")
        .replace("max: 3,", "max: 3, zonal: true,");
    let wanted = wanted(&text);
    let mut groups = BTreeMap::new();
    for (id, resource) in &wanted {
        match resource {
            Resource::Group(group) => {
                let subnets: Vec<&str> = group.subnets.iter().map(String::as_str).collect();
                assert_eq!(group.tags["windlass.dev/group"].value, "web");
                assert_eq!(group.max, 3);
                groups.insert(id.name.as_str(), subnets);
            }
            // A node tells the hook of its own zone's group.
            Resource::LaunchTemplate(template) => {
                let script = decoded(template.content.user_data.as_deref().unwrap());
                assert!(script.contains(&id.name), "{script}");
            }
            _ => {}
        }
    }
    assert_eq!(
        groups,
        BTreeMap::from([
            ("prod-web-us-west-2a", vec!["subnet-1"]),
            ("prod-web-us-west-2b", vec!["subnet-2"]),
        ])
    );
    let clean = plan("prod", &wanted, &applied(&wanted), Allowed::default());
    assert!(clean.is_empty(), "{}", clean.to_text());
}

#[test]
fn scaling_policies_are_another_master() {
    let mut found = applied(&wanted(CLUSTER));
    group(&mut found)
        .scaling_policies
        .insert("cpu-60".to_owned());
    let plan = compare_with(&found);
    assert_eq!(plan.attention().count(), 1);
    assert!(plan.to_text().contains("scaling_policies: cpu-60 → (none)"));
}

#[test]
fn the_order_of_security_groups_is_no_difference() {
    let text = CLUSTER.replace("[sg-1]", "[sg-1, sg-2]");
    let found = applied(&wanted(&text));
    let turned = wanted(&CLUSTER.replace("[sg-1]", "[sg-2, sg-1]"));
    let plan = plan("prod", &turned, &found, Allowed::default());
    assert!(plan.is_empty(), "{}", plan.to_text());
}

/// A cluster with a security group of its nodes.
fn with_security_group() -> String {
    CLUSTER.replace(
        "  join:",
        "  nodeSecurityGroup: {ingress: [{from: [self]}, {ports: 22, from: [10.0.0.0/8]}]}\n  join:",
    )
}

/// What AWS has after `wanted` was applied, with a security group of this id.
fn applied_with(wanted: &Resources, id: &str) -> Resources {
    let mut found = applied(wanted);
    made_as(&mut found, id);
    found
}

/// The security group has been made, and got this id.
fn made_as(resources: &mut Resources, id: &str) {
    crate::provision::security_group::put_id(resources, "prod-windlass-nodes", id);
    security_group_of(resources).id = Some(id.to_owned());
    for resource in resources.values_mut() {
        if let Resource::LaunchConfiguration(configuration) = resource {
            configuration.content.security_groups.sort();
        }
    }
}

fn security_group_of(resources: &mut Resources) -> &mut crate::provision::SecurityGroup {
    let mut groups = resources
        .values_mut()
        .filter_map(|resource| match resource {
            Resource::SecurityGroup(group) => Some(group),
            _ => None,
        });
    groups.next().unwrap()
}

fn steps(plan: &Plan) -> Vec<(Action, ResourceKind)> {
    let steps = plan.changes.iter();
    steps
        .map(|change| (change.action, change.id.kind))
        .collect()
}

fn rule(port: i32) -> windlass_aws_client::ec2::IngressRule {
    windlass_aws_client::ec2::IngressRule {
        protocol: "tcp".to_owned(),
        ports: Some((port, port)),
        source: windlass_aws_client::ec2::RuleSource::Ipv4("10.0.0.0/8".to_owned()),
    }
}

#[test]
fn the_security_group_comes_before_what_names_it() {
    let wanted = wanted(&with_security_group());
    let fresh = plan("prod", &wanted, &Resources::new(), Allowed::default());
    let kinds: Vec<ResourceKind> = steps(&fresh).into_iter().map(|(_, kind)| kind).collect();
    assert!(kinds.is_sorted(), "{kinds:?}");
    let text = fresh.to_text();
    for part in [
        "+ security group `prod-windlass-nodes`\n",
        "    ingress[tcp 22 from 10.0.0.0/8]: windlass: as the file",
        "    content.security_groups: prod-windlass-nodes, sg-1\n",
    ] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    let found = applied_with(&wanted, "sg-2");
    let clean = plan("prod", &wanted, &found, Allowed::default());
    assert!(clean.is_empty(), "{}", clean.to_text());
    let gone = destruction("prod", &found, KeyFate::Kept);
    let kinds: Vec<ResourceKind> = steps(&gone).into_iter().map(|(_, kind)| kind).collect();
    assert!(kinds.is_sorted_by(|a, b| a >= b), "{kinds:?}");
}

/// Something done to a security group by hand.
type Edit = fn(&mut crate::provision::SecurityGroup);

/// Each field of the group that was changed by hand, and whose it is.
#[test]
fn rules_of_the_security_group_are_compared_one_by_one() {
    let wanted = wanted(&with_security_group());
    let said = |edit: Edit| {
        let mut found = applied_with(&wanted, "sg-2");
        edit(security_group_of(&mut found));
        let plan = plan("prod", &wanted, &found, Allowed::default());
        let fields = plan.changes.iter().flat_map(|it| {
            let fields = it.fields.iter();
            fields.map(|field| format!("{:?} {}", it.action, field.path))
        });
        fields.collect::<Vec<_>>()
    };
    let cases: [(Edit, &[&str]); 8] = [
        (
            |group| {
                group.ingress.remove(&rule(22));
            },
            &["Change ingress[tcp 22 from 10.0.0.0/8]"],
        ),
        (
            |group| {
                group.ingress.insert(rule(23), "windlass: once".to_owned());
            },
            &["Change ingress[tcp 23 from 10.0.0.0/8]"],
        ),
        (
            |group| {
                group.ingress.insert(rule(22), "windlass: other".to_owned());
            },
            &["Change ingress[tcp 22 from 10.0.0.0/8]"],
        ),
        // Somebody else's, which does what the file wants.
        (
            |group| {
                group.ingress.insert(rule(22), "ssh".to_owned());
            },
            &[],
        ),
        (
            |group| {
                group.ingress.insert(rule(23), "telnet".to_owned());
            },
            &["Keep ingress[tcp 23 from 10.0.0.0/8]"],
        ),
        (
            |group| {
                group.tags.remove("windlass.dev/security-group");
            },
            &["Change tags[windlass.dev/security-group]"],
        ),
        (
            |group| {
                group
                    .tags
                    .insert("kubernetes.io/cluster/prod".to_owned(), "owned".to_owned());
            },
            &[],
        ),
        (
            |group| group.vpc = Some("vpc-9".to_owned()),
            &["Attention vpc"],
        ),
    ];
    for (edit, expected) in cases {
        assert_eq!(said(edit), expected);
    }
}

/// A launch configuration that names a group of earlier times gives way to one of another name, and
/// that stays.
#[test]
fn another_security_group_is_another_launch_configuration() {
    let text = with_security_group().replace("max: 3,", "max: 3, launchConfiguration: true,");
    let wanted = wanted(&text);
    let clean = |found: &Resources| {
        let plan = plan("prod", &wanted, found, Allowed::default());
        assert!(plan.is_empty(), "{}", plan.to_text());
    };
    let name = |resources: &Resources| {
        let mut ids = resources.keys();
        let id = ids.find(|id| id.kind == ResourceKind::LaunchConfiguration);
        id.unwrap().name.clone()
    };
    let mut found = applied_with(&wanted, "sg-2");
    clean(&found);
    // Deleted by hand, and to be made again.
    found.retain(|id, _| id.kind != ResourceKind::SecurityGroup);
    let mend = plan("prod", &wanted, &found, Allowed::default());
    assert_eq!(
        steps(&mend),
        [
            (Action::Create, ResourceKind::SecurityGroup),
            (Action::Create, ResourceKind::LaunchConfiguration),
            (Action::Change, ResourceKind::AutoScalingGroup),
            (Action::Destroy, ResourceKind::LaunchConfiguration),
        ],
        "{}",
        mend.to_text()
    );
    let first = name(&found);
    let mut second = versions(&wanted, &found);
    assert_ne!(name(&second), first);
    made_as(&mut second, "sg-3");
    clean(&second);
    // A run that ended before the old one was deleted, too: the right one stays.
    let old = found.into_iter().find(|(id, _)| id.name == first);
    let mut both = second.clone();
    both.extend(old);
    let rest = plan("prod", &wanted, &both, Allowed::default());
    assert_eq!(
        steps(&rest),
        [(Action::Destroy, ResourceKind::LaunchConfiguration)]
    );
    assert_eq!(rest.changes[0].id.name, first);
}

#[test]
fn a_security_group_that_is_asked_for_no_more_is_deleted_last() {
    let found = applied_with(&wanted(&with_security_group()), "sg-2");
    let without = plan("prod", &wanted(CLUSTER), &found, Allowed::default());
    assert_eq!(
        steps(&without),
        [
            (Action::Change, ResourceKind::LaunchTemplate),
            (Action::Change, ResourceKind::AutoScalingGroup),
            (Action::Destroy, ResourceKind::SecurityGroup),
        ]
    );
}
