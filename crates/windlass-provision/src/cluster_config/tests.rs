use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

const EXAMPLE: &str = include_str!("../../../../examples/cluster.yaml");

const SMALL: &str = "\
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
  groups:
  - {name: web, min: 0, max: 3}
";

#[track_caller]
fn problems(text: &str) -> Vec<String> {
    match ClusterConfig::read("cluster.yaml", text) {
        Ok(_) => Vec::new(),
        Err(ClusterConfigError::Invalid { problems, .. }) => {
            problems.iter().map(ToString::to_string).collect()
        }
        Err(error) => vec![error.to_string()],
    }
}

/// Reads [`SMALL`] with one text replaced, and expects a single problem.
#[track_caller]
fn check(from: &str, to: &str, expected: &str) {
    assert!(SMALL.contains(from), "`{from}` is not in the sample");
    let found = problems(&SMALL.replacen(from, to, 1));
    assert!(
        found.len() == 1 && found[0].contains(expected),
        "expected one problem with `{expected}`, found {found:#?}"
    );
}

/// The paths of all fields; lists are transparent, and maps that the user keys end a path.
fn fields(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    const USER_KEYED: [&str; 6] = [
        "tags",
        "labels",
        "resources",
        "autoscalingOptions",
        "image.tags",
        "groups.image.tags",
    ];
    match value {
        Value::Object(map) if !USER_KEYED.iter().any(|last| path.ends_with(last)) => {
            for (key, value) in map {
                let path = format!("{path}.{key}");
                into.insert(path.clone());
                fields(value, &path, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, path, into)),
        _ => {}
    }
}

#[test]
fn the_example_has_every_field_of_the_schema() {
    let config = ClusterConfig::read("examples/cluster.yaml", EXAMPLE).unwrap();
    let (mut schema, mut example) = (BTreeSet::new(), BTreeSet::new());
    fields(&serde_json::to_value(&config).unwrap(), "", &mut schema);
    let written: Value = serde_saphyr::from_str(EXAMPLE).unwrap();
    fields(&written, "", &mut example);
    // Of an image and a volume the example shows each field somewhere.
    let shown = |path: &String| {
        example.contains(path)
            || ["image", "rootVolume"].iter().any(|part| {
                path.split_once(&format!(".{part}."))
                    .is_some_and(|(_, field)| {
                        example
                            .iter()
                            .any(|written| written.ends_with(&format!(".{part}.{field}")))
                    })
            })
    };
    let missing: Vec<&String> = schema.iter().filter(|path| !shown(path)).collect();
    assert!(
        missing.is_empty(),
        "examples/cluster.yaml lacks {missing:#?}"
    );
}

#[test]
fn the_smallest_file_has_the_documented_defaults() {
    let config = ClusterConfig::read("cluster.yaml", SMALL).unwrap();
    assert_eq!(config.join_parameter(), "/windlass/prod/join");
    assert_eq!(config.spec.token.ttl.to_string(), "1h0m0s");
    let group = config.groups().next().unwrap();
    assert_eq!(group.aws_name, "prod-web");
    assert_eq!(group.instance_types, ["m7i.large"]);
    assert_eq!(group.subnets, ["subnet-1"]);
    assert_eq!(group.image, Some(ImageReference::Id("ami-1")));
    assert_eq!(group.metadata_hop_limit, 1);
    assert_eq!(group.root_volume.size.to_string(), "40Gi");
}

#[test]
fn labels_and_taints_have_one_source() {
    let text = SMALL.replace(
        "max: 3}",
        "max: 3, labels: {tier: web}, taints: ['dedicated=web:NoSchedule', 'gpu:NoExecute']}",
    );
    let config = ClusterConfig::read("cluster.yaml", &text).unwrap();
    let group = config.groups().next().unwrap();
    let tags: Vec<String> = group
        .node_template_tags()
        .iter()
        .map(|(key, value)| {
            let key = key.trim_start_matches("k8s.io/cluster-autoscaler/node-template/");
            format!("{key}={value}")
        })
        .collect();
    assert_eq!(
        tags,
        [
            "label/tier=web",
            "label/windlass.dev/node-group=web",
            "resources/ephemeral-storage=40Gi",
            "taint/dedicated=web:NoSchedule",
            "taint/gpu=:NoExecute",
        ]
    );
    let script = config.user_data(&group).render().unwrap();
    assert!(script.contains("windlass.dev/node-group=web,tier=web"));
    assert!(script.contains(r#""key":"gpu""#));
}

#[test]
fn a_wrong_shape_is_named_with_file_line_and_field() {
    let error = ClusterConfig::read("c.yaml", &SMALL.replace("max: 3", "max: many")).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("cannot read `c.yaml`, line 12: spec.groups[0].max: "),
        "{text}"
    );
    let text = problems(&SMALL.replace("region:", "regoin:")).join("");
    assert!(text.contains("regoin") && text.contains("line 5"), "{text}");
    let text = problems("apiVersion: apps/v1\nkind: Deployment\n").join("");
    assert!(
        text.contains("found `apps/v1`, expected `windlass.dev/v1alpha1`"),
        "{text}"
    );
    assert!(
        problems("a: [")
            .join("")
            .contains("cannot read `cluster.yaml`")
    );
    assert!(problems("").join("").contains("found nothing"));
}

#[test]
fn a_value_that_cannot_be_is_named_with_its_field() {
    check(
        "cluster: prod",
        "cluster: <YOUR CLUSTER NAME>",
        "spec.cluster: `<YOUR",
    );
    check("us-west-2", "us-west-2a", "spec.region: ");
    check("example.com:443", "example.com", "spec.endpoint: ");
    check("v1.36.3", "1.36", "spec.kubernetes: ");
    check(
        "[subnet-1]",
        "[subnet-1, subnet-1]",
        "spec.subnets[1]: `subnet-1` is in the list twice",
    );
    check("[subnet-1]", "[vpc-1]", "spec.subnets[0]: ");
    check("[subnet-1]", "[]", "spec.groups[0].subnets: neither");
    check("[sg-1]", "[]", "spec.securityGroups: is empty");
    check("min: 0", "min: 4", "spec.groups[0].min: 4 is above max (3)");
    check("name: web", "name: Web", "spec.groups[0].name: ");
    check(
        "{id: ami-1}",
        "{id: ami-1, parameter: /x}",
        "spec.defaults.image: expected exactly one",
    );
    check("image: {id: ami-1}, ", "", "spec.groups[0].image: neither");
    check(
        ", instanceType: m7i.large",
        "",
        "spec.groups[0].instanceType: neither",
    );
    check("m7i.large", "large", "spec.defaults.instanceType: ");
}

#[test]
fn a_setting_that_cannot_be_is_named_with_its_field() {
    check(
        "max: 3}",
        "max: 3, labels: {kubernetes.io/role: x}}",
        "a kubelet may not set it",
    );
    check(
        "max: 3}",
        "max: 3, labels: {'a b': x}}",
        "spec.groups[0].labels.a b: ",
    );
    check(
        "max: 3}",
        "max: 3, taints: ['a=1:NoSchedule', 'a=2:NoExecute']}",
        "taints[1]: `a`",
    );
    check(
        "max: 3}",
        "max: 3, resources: {gpu: some}}",
        "resources.gpu: `some` is not a quantity",
    );
    check(
        "max: 3}",
        "max: 3, rootVolume: {type: gp2, throughput: 125}}",
        "rootVolume.throughput: only gp3",
    );
    check(
        "  groups:",
        "  token: {ttl: 30m}\n  groups:",
        "expected at least",
    );
    check(
        "  groups:",
        "  token: {parameter: /aws/x}\n  groups:",
        "spec.token.parameter: ",
    );
    check(
        "  groups:",
        "  join: {mode: legacy-2019}\n  groups:",
        "compat.joinTokenParameter",
    );
    check(
        "  groups:",
        "  join: {lifecycleHook: {timeout: 5m}}\n  groups:",
        "bootBudget",
    );
    check(
        "  groups:",
        "  join: {lifecycleHook: {name: join}}\n  groups:",
        "expected `windlass-` and letters",
    );
    check(
        "  groups:",
        "  tags: {'aws:x': y}\n  groups:",
        "tag `aws:x`",
    );
    check(
        "  groups:",
        "  tags: {windlass.dev/x: y}\n  groups:",
        "is one that Windlass sets",
    );
    check(
        "  groups:",
        "  caPins: ['sha256:00']\n  groups:",
        "spec.caPins[0]",
    );
    check(
        "  groups:",
        "  credentials: {source: irsa}\n  groups:",
        "autoscalerRoleArn: is missing",
    );
    check(
        "  groups:",
        "  autoscaler: {flags: [--expandr=random]}\n  groups:",
        "did you mean",
    );
    check(
        "  groups:",
        "  autoscaler: {flags: ['--nodes=1:2:a']}\n  groups:",
        "spec.groups",
    );
    check(
        "  groups:",
        "  autoscaler: {image: windlass}\n  groups:",
        "is no image",
    );
}

#[test]
fn a_security_group_lets_in_what_aws_can_say() {
    let ingress = |ingress: &str, expected: &str| {
        let group =
            format!("groups:\n  - {{name: web, min: 0, max: 3}}\n  nodeSecurityGroup: {ingress}\n");
        let expected = format!("spec.nodeSecurityGroup{expected}");
        check(
            "groups:\n  - {name: web, min: 0, max: 3}\n",
            &group,
            &expected,
        );
    };
    let rule = |rule: &str, expected: &str| {
        ingress(
            &format!("{{ingress: [{rule}]}}"),
            &format!(".ingress[0]{expected}"),
        );
    };
    rule("{}", ".from: is empty");
    rule(
        "{from: [10.1.0.0/8]}",
        ".from[0]: `10.1.0.0/8`: write `10.0.0.0/8`",
    );
    rule(
        "{from: [everybody]}",
        ".from[0]: `everybody`: expected `self`",
    );
    rule("{protocol: tcp, from: [self]}", ".ports: is missing");
    rule("{protocol: all, ports: 22, from: [self]}", ".ports: only");
    rule(
        "{protocol: '6', from: [self]}",
        ".protocol: `6`: write `tcp`",
    );
    rule(
        "{protocol: tpc, from: [self]}",
        ".protocol: `tpc`: expected",
    );
    rule("{from: [self], description: Ünd}", ".description: `Ünd`");
    rule(
        "{from: [self, self]}",
        ".from: `all from self` is said in ingress[0] already",
    );
    let many: Vec<String> = (1..62).map(|it| format!("10.0.{it}.0/24")).collect();
    ingress(
        &format!("{{ingress: [{{from: [{}]}}]}}", many.join(", ")),
        ".ingress: makes 61 rules",
    );
    let alone = "[]\n  nodeSecurityGroup: {}";
    check(
        "[sg-1]",
        alone,
        "spec.nodeSecurityGroup.ingress: is missing",
    );
    let with_rule = "[]\n  nodeSecurityGroup: {ingress: [{from: [self, sg-2]}]}";
    assert!(problems(&SMALL.replace("[sg-1]", with_rule)).is_empty());
    let without = SMALL.replace("  securityGroups: [sg-1]\n", "");
    assert!(
        problems(&without)
            .join("")
            .contains("spec.securityGroups: is empty")
    );
}

#[test]
fn a_setting_that_another_excludes_is_named_with_its_field() {
    check(
        "  groups:",
        "  token: {createKey: true, kmsKey: alias/a}\n  groups:",
        "spec.token.createKey: `kmsKey` names a key already",
    );
    check(
        "max: 3}",
        "max: 3, zonal: true, autoScalingGroup: k8s}",
        "spec.groups[0].zonal: `autoScalingGroup` names one group",
    );
    check(
        "max: 3}",
        "max: 3, zonal: true}\n  - {name: web-us-west-2a, min: 0, max: 1}",
        "spec.groups[1].name: `prod-web-us-west-2a` may be the name of a zone's group",
    );
    check(
        "max: 3}",
        "max: 3, launchConfiguration: true, instances: {types: [m5.large]}}",
        "spec.groups[0].launchConfiguration: a launch configuration has one type",
    );
    check(
        "max: 3}",
        "max: 3, launchConfiguration: true, rootVolume: {kmsKey: alias/a}}",
        "names no key for its volumes",
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let text = SMALL
        .replace("us-west-2", "nowhere")
        .replace("min: 0", "min: 9");
    assert_eq!(problems(&text).len(), 2);
}

#[test]
fn too_many_tags_are_refused_before_aws_does() {
    let labels: Vec<String> = (0..60).map(|n| format!("l{n}: x")).collect();
    let to = format!("max: 3, labels: {{{}}}}}", labels.join(", "));
    check("max: 3}", &to, "AWS takes 50");
}

#[test]
fn an_image_is_built_of_what_can_be_trusted() {
    const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let ami = |more: &str| {
        let windlass = format!("{{url: https://example.com/w, sha256: {HASH}}}");
        format!("  ami: {{source: {{id: ami-1}}, windlass: {windlass}{more}}}\n  groups:")
    };
    assert!(problems(&SMALL.replace("  groups:", &ami(""))).is_empty());
    let repository = |key: &str| {
        ami(&format!(
            ", repositories: [{{name: own, uri: https://example.com/deb, key: {key}}}]"
        ))
    };
    for (to, expected) in [
        (
            repository("{}"),
            "spec.ami.repositories[0].key: expected `text`, or `url`",
        ),
        (
            repository("{url: https://example.com/key}"),
            "with the `fingerprint`",
        ),
        (
            repository("{text: abc}"),
            "spec.ami.repositories[0].key.text",
        ),
        (
            ami("").replace(HASH, "abc"),
            "spec.ami.windlass.sha256: `abc`",
        ),
        (ami("").replace("https:", "http:"), "spec.ami.windlass.url"),
        (
            ami("").replace("{id: ami-1}", "{name: debian-*}"),
            "spec.ami.source: expected exactly one",
        ),
        (ami(", kubernetes: 1.11.3-00"), "gone since 2024"),
        (
            ami(", containerImages: {pull: [nginx:1]}"),
            "expected the full name",
        ),
        (
            ami(", publish: {accounts: ['123456789012']}"),
            "spec.ami.publish.accounts: other accounts",
        ),
        (
            ami(", publish: {copies: [{region: us-west-2}]}"),
            "is where it is already",
        ),
        (
            ami(", publish: {deprecateAfter: 2160h}"),
            "`2160h` is no number of days: expected one such as `90d`",
        ),
        (
            ami(", publish: {deprecateAfter: 0d}"),
            "spec.ami.publish.deprecateAfter: 0d: expected 1d to 3650d",
        ),
        (
            ami(", builder: {timeout: 5s}"),
            "spec.ami.builder.timeout: 5s",
        ),
    ] {
        check("  groups:", &to, expected);
    }
}
