//! What the fields say, held against each other and against what AWS and Kubernetes take.

mod ami;
mod security_group;

use std::collections::{BTreeMap, BTreeSet};

use windlass_config::{Config, FlagError};
use windlass_model::{Quantity, valid_label_value, valid_qualified_name};

use crate::join::LocalDisks;

use super::schema::{CredentialsSource, Image, JoinMode, RootVolume, Spec};
use super::{ClusterConfig, Problem, ResolvedGroup};
use crate::pin::CaPin;

/// Most tags of an Auto Scaling group.
const MAX_TAGS: usize = 50;
/// Longest key of a tag, in characters: AWS takes 128, and counts the last.
const MAX_TAG_KEY: usize = 127;
/// Longest value of a tag.
const MAX_TAG_VALUE: usize = 255;
/// Longest name of a cluster: `<cluster>-windlass-control-plane` must be a role's name, of 64.
const MAX_CLUSTER_NAME: usize = 40;
/// Tags that Windlass sets on a group besides those of its node template: discovery (2), the
/// cloud controller's, `Name`, and its own (3).
const OWN_TAGS: usize = 7;

/// Flags of `windlass run` that follow from other fields, with the field.
const DERIVED_FLAGS: [(&str, &str); 5] = [
    ("cloud-provider", "nothing: it is always aws"),
    ("node-group-auto-discovery", "spec.cluster"),
    ("nodes", "spec.groups"),
    ("namespace", "spec.autoscaler.namespace"),
    (
        "address",
        "nothing: the manifests' probes and ports belong to :8085",
    ),
];

/// All that is wrong, in the order of the schema.
pub(super) fn check(config: &ClusterConfig) -> Vec<Problem> {
    let mut problems = Problems::default();
    cluster(&config.spec, &mut problems);
    security_group::security_group(&config.spec, &mut problems);
    token(&config.spec, &mut problems);
    join(&config.spec, &mut problems);
    defaults(&config.spec, &mut problems);
    groups(config, &mut problems);
    autoscaler(&config.spec, &mut problems);
    ami::ami(&config.spec, &mut problems);
    // A script made of wrong values would only repeat what is wrong with them.
    if problems.0.is_empty() {
        user_data(config, &mut problems);
    }
    problems.0
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem {
            path: path.into(),
            message: message.into(),
        });
    }

    /// Adds a problem where `holds` does not.
    fn expect(&mut self, holds: bool, path: &str, message: impl FnOnce() -> String) {
        if !holds {
            self.add(path, message());
        }
    }
}

fn cluster(spec: &Spec, problems: &mut Problems) {
    let Spec {
        cluster,
        region,
        endpoint,
        kubernetes,
        ..
    } = spec;
    problems.expect(
        is_name(cluster) && cluster.len() <= MAX_CLUSTER_NAME,
        "spec.cluster",
        || {
            format!(
                "`{cluster}` is no name for a cluster: expected at most {MAX_CLUSTER_NAME} of a-z, \
                 0-9 and `-`, the name that the groups' tags carry"
            )
        },
    );
    problems.expect(is_region(region), "spec.region", || {
        format!("`{region}` is no AWS region: expected one such as `us-west-2`")
    });
    problems.expect(is_endpoint(endpoint), "spec.endpoint", || {
        format!("`{endpoint}` is no address: expected host:port, such as `api.example.com:443`")
    });
    problems.expect(is_version(kubernetes), "spec.kubernetes", || {
        format!("`{kubernetes}` is no version: expected one such as `v1.36.3`")
    });
    ids("spec.subnets", &spec.subnets, "subnet-", problems);
    ids(
        "spec.securityGroups",
        &spec.security_groups,
        "sg-",
        problems,
    );
    problems.expect(
        !spec.security_groups.is_empty() || spec.node_security_group.is_some(),
        "spec.securityGroups",
        || {
            "is empty: nodes need at least one security group; name it, or have one made by \
             spec.nodeSecurityGroup"
                .to_owned()
        },
    );
    tags("spec.tags", &spec.tags, problems);
    for (index, pin) in spec.ca_pins.iter().enumerate() {
        if let Err(error) = pin.parse::<CaPin>() {
            problems.add(format!("spec.caPins[{index}]"), error.to_string());
        }
    }
    let credentials = &spec.credentials;
    let wants_role = credentials.source == CredentialsSource::Irsa;
    problems.expect(
        wants_role == credentials.autoscaler_role_arn.is_some(),
        "spec.credentials.autoscalerRoleArn",
        || {
            if wants_role {
                "is missing: with `source: irsa` name the role that the service account assumes"
                    .to_owned()
            } else {
                "only `source: irsa` takes it: leave it out".to_owned()
            }
        },
    );
}

fn token(spec: &Spec, problems: &mut Problems) {
    let token = &spec.token;
    let least = token.renew_after.0 + token.lateness.0 + token.boot_budget.0;
    problems.expect(least <= token.ttl.0, "spec.token.ttl", || {
        format!(
            "{} leaves a booting node with a dead token: expected at least renewAfter + lateness \
             + bootBudget = {}",
            token.ttl,
            super::GoDuration(least)
        )
    });
    problems.expect(
        !token.create_key || token.kms_key.is_none(),
        "spec.token.createKey",
        || "`kmsKey` names a key already: leave one of the two out".to_owned(),
    );
    for (name, parameter) in [
        ("spec.token.parameter", &token.parameter),
        (
            "spec.compat.joinTokenParameter",
            &spec.compat.join_token_parameter,
        ),
    ] {
        if let Some(parameter) = parameter {
            problems.expect(is_parameter(parameter), name, || {
                format!(
                    "`{parameter}` is no name for a parameter: expected a-z, A-Z, 0-9, `._-/`, no \
                     `aws` or `ssm` at its begin, and at most 15 levels"
                )
            });
        }
    }
}

fn join(spec: &Spec, problems: &mut Problems) {
    let join = &spec.join;
    if join.mode == JoinMode::Legacy2019 {
        problems.expect(
            spec.compat.join_token_parameter.is_some(),
            "spec.join.mode",
            || {
                "`legacy-2019` reads the plain parameter: name it in \
                 spec.compat.joinTokenParameter"
                    .to_owned()
            },
        );
    }
    problems.expect(
        join.mode == JoinMode::Agent || join.local_disks == LocalDisks::None,
        "spec.join.localDisks",
        || "the scripts leave the disks alone: take `none`, or mode `agent`".to_owned(),
    );
    for (name, commands) in [
        ("spec.join.preJoin", &join.pre_join),
        ("spec.join.postJoin", &join.post_join),
    ] {
        for command in commands {
            if let Err(error) = command.check(name) {
                problems.expect(false, name, || error.to_string());
            }
        }
        problems.expect(
            join.mode != JoinMode::Legacy2019 || commands.is_empty(),
            name,
            || "`legacy-2019` has no room for commands: take mode `script` or `agent`".to_owned(),
        );
    }
    let Some(hook) = &join.lifecycle_hook else {
        return;
    };
    problems.expect(
        hook.name.strip_prefix("windlass-").is_some_and(|rest| {
            !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        }),
        "spec.join.lifecycleHook.name",
        || {
            // By its name it is known as ours once the file has another, or none.
            format!(
                "`{}`: expected `windlass-` and letters, digits and `-`",
                hook.name
            )
        },
    );
    problems.expect(
        spec.token.boot_budget <= hook.timeout,
        "spec.join.lifecycleHook.timeout",
        || {
            format!(
                "{} is less than spec.token.bootBudget ({}): slow boots would be abandoned",
                hook.timeout, spec.token.boot_budget
            )
        },
    );
    problems.expect(
        (30..=7200).contains(&hook.timeout.0.as_secs()),
        "spec.join.lifecycleHook.timeout",
        || format!("{}: AWS takes 30s to 2h", hook.timeout),
    );
}

fn defaults(spec: &Spec, problems: &mut Problems) {
    let defaults = &spec.defaults;
    if let Some(image) = &defaults.image {
        self::image("spec.defaults.image", image, problems);
    }
    if let Some(instance_type) = &defaults.instance_type {
        self::instance_type("spec.defaults.instanceType", instance_type, problems);
    }
    root_volume("spec.defaults.rootVolume", &defaults.root_volume, problems);
    if let Some(limit) = defaults.metadata_hop_limit {
        problems.expect(
            (1..=64).contains(&limit),
            "spec.defaults.metadataHopLimit",
            || format!("{limit}: expected 1 to 64"),
        );
    }
}

fn groups(config: &ClusterConfig, problems: &mut Problems) {
    let mut names = BTreeSet::new();
    let mut aws_names = BTreeSet::new();
    for (index, group) in config.groups().enumerate() {
        let path = format!("spec.groups[{index}]");
        let name = &group.group.name;
        problems.expect(
            is_name(name) && name.len() <= 63,
            &format!("{path}.name"),
            || format!("`{name}` is no name for a group: expected at most 63 of a-z, 0-9 and `-`"),
        );
        if let Some(aws_name) = &group.group.auto_scaling_group {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./()".contains(c);
            problems.expect(
                (3..=128).contains(&aws_name.len()) && aws_name.chars().all(allowed),
                &format!("{path}.autoScalingGroup"),
                || {
                    format!(
                        "`{aws_name}`: expected 3 to 128 of letters, digits and `-_./()`, which a \
                         launch template's name is made of too"
                    )
                },
            );
        }
        problems.expect(names.insert(name.clone()), &format!("{path}.name"), || {
            format!("`{name}` is the name of an earlier group too: names are unique")
        });
        problems.expect(
            aws_names.insert(group.aws_name.clone()),
            &format!("{path}.autoScalingGroup"),
            || {
                format!(
                    "`{}` is the Auto Scaling group of an earlier group too: names are unique",
                    group.aws_name
                )
            },
        );
        self::group(config, &path, &group, problems);
        // Zones are named after their region, and become a part of the group's name.
        let of_zones = config.groups().filter(|other| other.group.zonal);
        for zonal in of_zones {
            let prefix = format!("{}-{}", zonal.aws_name, config.spec.region);
            problems.expect(
                !group.aws_name.starts_with(&prefix),
                &format!("{path}.name"),
                || {
                    format!(
                        "`{}` may be the name of a zone's group of `{}`, which is zonal: take another",
                        group.aws_name, zonal.group.name
                    )
                },
            );
        }
    }
}

fn group(
    config: &ClusterConfig,
    path: &str,
    resolved: &ResolvedGroup<'_>,
    problems: &mut Problems,
) {
    let group = resolved.group;
    problems.expect(group.min <= group.max, &format!("{path}.min"), || {
        format!("{} is above max ({})", group.min, group.max)
    });
    ids(
        &format!("{path}.subnets"),
        &group.subnets,
        "subnet-",
        problems,
    );
    problems.expect(
        !resolved.subnets.is_empty(),
        &format!("{path}.subnets"),
        || "neither the group nor spec.subnets names one".to_owned(),
    );
    instance_types(path, resolved, problems);
    problems.expect(
        !group.zonal || group.auto_scaling_group.is_none(),
        &format!("{path}.zonal"),
        || {
            "`autoScalingGroup` names one group: import each zone's as a group of its own"
                .to_owned()
        },
    );
    if group.launch_configuration {
        launch_configuration(path, resolved, problems);
    }
    match &group.image {
        Some(image) => self::image(&format!("{path}.image"), image, problems),
        None => problems.expect(
            config.spec.defaults.image.is_some(),
            &format!("{path}.image"),
            || "neither the group nor spec.defaults.image names one".to_owned(),
        ),
    }
    if let Some(volume) = &group.root_volume {
        root_volume(&format!("{path}.rootVolume"), volume, problems);
    }
    labels_and_resources(path, resolved, problems);
    let template_tags = resolved.node_template_tags();
    tags(path, &template_tags, problems);
    let count = template_tags.len() + config.spec.tags.len() + OWN_TAGS;
    problems.expect(count <= MAX_TAGS, path, || {
        format!(
            "its labels, taints, resources and options with spec.tags and Windlass's own make \
             {count} tags, and AWS takes {MAX_TAGS}: leave some out"
        )
    });
}

/// What stops a node from joining: labels that a kubelet may not set, too long a script.
fn user_data(config: &ClusterConfig, problems: &mut Problems) {
    for (index, group) in config.groups().enumerate() {
        if let Err(error) = config.user_data(&group).render() {
            problems.add(
                format!("spec.groups[{index}]"),
                format!("its user data: {error}"),
            );
        }
    }
}

/// What a launch template can say and a launch configuration cannot.
fn launch_configuration(path: &str, resolved: &ResolvedGroup<'_>, problems: &mut Problems) {
    let path = format!("{path}.launchConfiguration");
    problems.expect(resolved.instances.is_none(), &path, || {
        "a launch configuration has one type: leave out `instances`, or this".to_owned()
    });
    problems.expect(resolved.root_volume.kms_key.is_none(), &path, || {
        "a launch configuration names no key for its volumes: leave out `rootVolume.kmsKey`, or this"
            .to_owned()
    });
}

fn instance_types(path: &str, resolved: &ResolvedGroup<'_>, problems: &mut Problems) {
    let group = resolved.group;
    problems.expect(
        !resolved.instance_types.is_empty(),
        &format!("{path}.instanceType"),
        || "neither the group nor spec.defaults.instanceType names one".to_owned(),
    );
    problems.expect(
        group.instances.is_none() || group.instance_type.is_none(),
        &format!("{path}.instanceType"),
        || "`instances.types` names the types already: leave one of the two out".to_owned(),
    );
    let mut seen = BTreeSet::new();
    for (index, name) in resolved.instance_types.iter().enumerate() {
        let field = if group.instances.is_some() {
            format!("{path}.instances.types[{index}]")
        } else {
            format!("{path}.instanceType")
        };
        // The default type is judged where it stands.
        if group.instances.is_some() || group.instance_type.is_some() {
            instance_type(&field, name, problems);
        }
        problems.expect(seen.insert(name), &field, || {
            format!("`{name}` is in the list twice")
        });
    }
}

fn labels_and_resources(path: &str, resolved: &ResolvedGroup<'_>, problems: &mut Problems) {
    let group = resolved.group;
    for (key, value) in &group.labels {
        problems.expect(
            valid_qualified_name(key) && valid_label_value(value),
            &format!("{path}.labels.{key}"),
            || format!("`{key}={value}` is no label"),
        );
    }
    problems.expect(
        !group.labels.contains_key("windlass.dev/node-group"),
        &format!("{path}.labels"),
        || "`windlass.dev/node-group` is set to the group's name already".to_owned(),
    );
    let mut keys = BTreeSet::new();
    for (index, taint) in group.taints.iter().enumerate() {
        problems.expect(
            keys.insert(&taint.key),
            &format!("{path}.taints[{index}]"),
            || {
                format!(
                    "`{}` is tainted already: a node-template tag holds one taint for a key",
                    taint.key
                )
            },
        );
    }
    for (name, quantity) in &group.resources {
        let field = format!("{path}.resources.{name}");
        problems.expect(valid_qualified_name(name), &field, || {
            format!("`{name}` is no name of a resource")
        });
        problems.expect(quantity.parse::<Quantity>().is_ok(), &field, || {
            format!("`{quantity}` is not a quantity: use a plain number or a suffix such as `Gi`")
        });
    }
}

fn autoscaler(spec: &Spec, problems: &mut Problems) {
    let autoscaler = &spec.autoscaler;
    problems.expect(is_image(&autoscaler.image), "spec.autoscaler.image", || {
        format!(
            "`{}` is no image: expected repository:tag or repository@sha256:…",
            autoscaler.image
        )
    });
    problems.expect(
        is_name(&autoscaler.namespace),
        "spec.autoscaler.namespace",
        || format!("`{}` is no name of a namespace", autoscaler.namespace),
    );
    problems.expect(0 < autoscaler.replicas, "spec.autoscaler.replicas", || {
        "0: expected at least 1".to_owned()
    });
    problems.expect(
        autoscaler.memory.parse::<Quantity>().is_ok(),
        "spec.autoscaler.memory",
        || format!("`{}` is not a quantity, such as `256Mi`", autoscaler.memory),
    );
    if let Err(errors) = Config::parse(&autoscaler.flags) {
        for error in errors {
            let problem = match error {
                FlagError::Help => "`--help` is no setting".to_owned(),
                error => error.to_string(),
            };
            problems.add("spec.autoscaler.flags", problem);
        }
    }
    for (index, flag) in autoscaler.flags.iter().enumerate() {
        let name = flag.trim_start_matches('-').split('=').next().unwrap_or("");
        if let Some((_, from)) = DERIVED_FLAGS.iter().find(|(derived, _)| *derived == name) {
            problems.add(
                format!("spec.autoscaler.flags[{index}]"),
                format!("`--{name}` follows from {from}: leave it out"),
            );
        }
    }
}

fn image(path: &str, image: &Image, problems: &mut Problems) {
    problems.expect(image.reference().is_some(), path, || {
        "expected exactly one of `id`, `parameter` and `tags`".to_owned()
    });
    if let Some(id) = &image.id {
        problems.expect(is_id(id, "ami-"), &format!("{path}.id"), || {
            format!("`{id}` is no image id: expected one such as `ami-0123456789abcdef0`")
        });
    }
    problems.expect(
        image.owner.is_none() || !image.tags.is_empty(),
        &format!("{path}.owner"),
        || "only a look-up by `tags` takes it".to_owned(),
    );
}

fn instance_type(path: &str, name: &str, problems: &mut Problems) {
    let is_type = name.split_once('.').is_some_and(|(family, size)| {
        let word = |text: &str| {
            let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            !text.is_empty() && text.chars().all(allowed)
        };
        word(family) && word(size)
    });
    problems.expect(is_type, path, || {
        format!("`{name}` is no instance type: expected one such as `m7i.large`")
    });
}

fn root_volume(path: &str, volume: &RootVolume, problems: &mut Problems) {
    const KINDS: [&str; 6] = ["gp3", "gp2", "io1", "io2", "st1", "standard"];
    let kind = volume.kind.as_str();
    problems.expect(KINDS.contains(&kind), &format!("{path}.type"), || {
        format!("`{kind}`: expected one of {}", KINDS.join(", "))
    });
    problems.expect(
        volume.throughput.is_none() || kind == "gp3",
        &format!("{path}.throughput"),
        || format!("only gp3 takes it, not {kind}"),
    );
    let takes_iops = ["gp3", "io1", "io2"].contains(&kind);
    problems.expect(
        volume.iops.is_none() || takes_iops,
        &format!("{path}.iops"),
        || format!("only gp3, io1 and io2 take it, not {kind}"),
    );
    problems.expect(
        volume.iops.is_some() || !["io1", "io2"].contains(&kind),
        &format!("{path}.iops"),
        || format!("{kind} needs it"),
    );
    problems.expect(
        volume.device.starts_with("/dev/"),
        &format!("{path}.device"),
        || format!("`{}`: expected one such as `/dev/xvda`", volume.device),
    );
}

fn ids(path: &str, ids: &[String], prefix: &str, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for (index, id) in ids.iter().enumerate() {
        problems.expect(is_id(id, prefix), &format!("{path}[{index}]"), || {
            format!("`{id}`: expected an id such as `{prefix}0123456789abcdef0`")
        });
        problems.expect(seen.insert(id), &format!("{path}[{index}]"), || {
            format!("`{id}` is in the list twice")
        });
    }
}

fn tags(path: &str, tags: &BTreeMap<String, String>, problems: &mut Problems) {
    for (key, value) in tags {
        let reserved = key.to_ascii_lowercase().starts_with("aws:");
        problems.expect(
            !key.is_empty() && !reserved && key.chars().count() <= MAX_TAG_KEY,
            path,
            || {
                format!(
                    "tag `{key}`: expected 1 to {MAX_TAG_KEY} characters, not beginning with `aws:`"
                )
            },
        );
        problems.expect(value.chars().count() <= MAX_TAG_VALUE, path, || {
            format!("tag `{key}`: its value has more than {MAX_TAG_VALUE} characters")
        });
    }
    if path == "spec.tags" {
        let own = [
            "k8s.io/cluster-autoscaler/",
            "kubernetes.io/cluster/",
            "windlass.dev/",
        ];
        for key in tags.keys() {
            let is_own = key == "Name" || own.iter().any(|prefix| key.starts_with(prefix));
            problems.expect(!is_own, path, || {
                format!("tag `{key}` is one that Windlass sets: leave it out")
            });
        }
    }
}

fn is_name(text: &str) -> bool {
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    is_edge(text.chars().next())
        && is_edge(text.chars().last())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric()))
}

fn is_region(text: &str) -> bool {
    let words: Vec<&str> = text.split('-').collect();
    let [first, middle @ .., number] = words.as_slice() else {
        return false;
    };
    let is_word = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
    first.len() == 2
        && is_word(first)
        && !middle.is_empty()
        && middle.iter().all(is_word)
        && number.len() == 1
        && number.chars().all(|c| c.is_ascii_digit())
}

fn is_endpoint(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
        !host.is_empty()
            && host.chars().all(allowed)
            && port.parse().is_ok_and(|port: u16| 0 < port)
    })
}

fn is_version(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("v1.") else {
        return false;
    };
    rest.split('.').count() == 2
        && rest
            .split('.')
            .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()))
}

fn is_image(text: &str) -> bool {
    let last = text.rsplit('/').next().unwrap_or(text);
    let is_named = last.contains(':') || last.contains("@sha256:");
    is_named
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./:@".contains(c))
}

/// Parameter Store's own rules.
fn is_parameter(name: &str) -> bool {
    let bare = name.trim_start_matches('/').to_ascii_lowercase();
    !bare.is_empty()
        && !bare.starts_with("aws")
        && !bare.starts_with("ssm")
        && name.matches('/').count() <= 15
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
}
