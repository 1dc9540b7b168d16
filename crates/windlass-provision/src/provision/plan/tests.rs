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
    };
    desired(&config, &facts).unwrap()
}

/// What AWS has after `wanted` was applied.
fn applied(wanted: &Resources) -> Resources {
    let mut found = versions(wanted, &Resources::new());
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
    let destruction = destruction("prod", &found);
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
    let destruction = destruction("prod", &applied(&wanted(CLUSTER)));
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
