//! A flag that is said to be acted on is read somewhere: none may be taken and forgotten.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "the test looks for itself into the other crates' sources"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use windlass_config::{Status, flags};

/// Fields that the other crates read through a method of this crate: group, field, method.
const METHODS: &[(&str, &str, &str)] = &[
    ("templates", "startup_taint", "startup_taints"),
    ("templates", "ignore_taint", "startup_taints"),
    ("limits", "memory_total", "memory_total_bytes"),
    ("safety", "max_removals_per_hour", "removals_per_hour"),
    (
        "safety",
        "max_removals_per_hour_percentage",
        "removals_per_hour",
    ),
    ("scale_down", "unneeded_time", "scale_down_unneeded_time"),
    ("scale_down", "unready_time", "scale_down_unready_time"),
    (
        "scale_down",
        "utilization_threshold",
        "scale_down_utilization_threshold",
    ),
    (
        "scale_down",
        "gpu_utilization_threshold",
        "scale_down_gpu_utilization_threshold",
    ),
    (
        "scale_down",
        "ignore_daemon_sets_utilization",
        "ignore_daemonsets_utilization",
    ),
    (
        "cluster_health",
        "max_node_provision_time",
        "max_node_provision_time",
    ),
    (
        "cluster_health",
        "max_node_startup_time",
        "max_node_startup_time",
    ),
];

/// Flags with a single allowed value: to check it is to act on it.
const ONE_VALUE: &[&str] = &["cloud-provider", "estimator", "leader-elect-resource-lock"];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The sources of all crates but this one, each without its blanks.
fn other_crates() -> Vec<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir(crates).unwrap() {
        let source = entry.unwrap().path().join("src");
        if source.is_dir() && !source.starts_with(env!("CARGO_MANIFEST_DIR")) {
            sources(&source, &mut found);
        }
    }
    found
        .iter()
        .map(|path| {
            fs::read_to_string(path)
                .unwrap()
                .split_whitespace()
                .collect()
        })
        .collect()
}

/// Whether a source without blanks names the field: `.field` beside the group (`config.group`
/// or the group's type, which may be bound to another name), the field in a pattern of the
/// group's type, or the method that stands for it.
fn reads(source: &str, group: &str, field: &str) -> bool {
    let names = |text: &str| {
        let ends_there = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        source.split(text).skip(1).any(ends_there)
    };
    let type_name: String = group
        .split('_')
        .flat_map(|word| {
            let (first, rest) = word.split_at(1);
            [first.to_uppercase(), rest.to_owned()]
        })
        .collect();
    let is_in_a_pattern = || {
        source.split(&format!("{type_name}{{")).skip(1).any(|rest| {
            let pattern = rest.split('}').next().unwrap_or_default();
            pattern.split([',', ':']).any(|name| name == field)
        })
    };
    let stands_for_it = |(of, name, method): &(&str, &str, &str)| {
        (*of, *name) == (group, field) && names(&format!(".{method}"))
    };
    (names(&format!(".{group}")) || names(&type_name)) && names(&format!(".{field}"))
        || is_in_a_pattern()
        || METHODS.iter().any(stands_for_it)
}

#[test]
fn a_flag_that_is_acted_on_is_read_somewhere() {
    let sources = other_crates();
    assert!(!sources.is_empty());
    let forgotten: Vec<&str> = flags()
        .filter(|flag| matches!(flag.status, Status::Acted | Status::Deprecated { .. }))
        .filter(|flag| !ONE_VALUE.contains(&flag.name))
        .filter(|flag| {
            let (group, field) = flag.field().unwrap();
            !sources.iter().any(|source| reads(source, group, field))
        })
        .map(|flag| flag.name)
        .collect();
    assert!(
        forgotten.is_empty(),
        "said to be acted on, and read nowhere (give them the status `NotYet`): {forgotten:?}"
    );
}

#[test]
fn a_read_is_found_in_an_access_a_pattern_and_a_method() {
    assert!(reads(
        "config.scale_down.unneeded_time>now",
        "scale_down",
        "unneeded_time"
    ));
    assert!(reads(
        "letScaleDown{enabled,unneeded_time:t,..}",
        "scale_down",
        "unneeded_time"
    ));
    assert!(reads(
        "settings.scale_down_unneeded_time",
        "scale_down",
        "unneeded_time"
    ));
    assert!(!reads(
        "config.scale_down.unneeded_times",
        "scale_down",
        "unneeded_time"
    ));
    assert!(!reads(
        "config.drain.unneeded_time",
        "scale_down",
        "unneeded_time"
    ));
    assert!(!reads(
        "letScaleUp{unneeded_time}",
        "scale_down",
        "unneeded_time"
    ));
}
