//! Names, types and defaults of the flags against the Go cluster-autoscaler's, listed in
//! `data/defaults.tsv`.

use std::collections::BTreeSet;

use windlass_config::{Config, Flag, FlagError, Kind, Status, flag, flags};
use windlass_model::{format_go_duration, parse_go_duration};

/// Name, type and default of each flag of the Go autoscaler.
fn expected() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    include_str!("data/defaults.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let [name, kind, default] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line:?} has no three columns");
            };
            (name, kind, default)
        })
}

fn is_of_another_cloud(flag: &Flag) -> bool {
    matches!(flag.status, Status::OtherCloud { .. })
}

#[test]
fn every_flag_of_the_go_autoscaler_has_its_default() {
    let mut differences = Vec::new();
    for (name, kind, default) in expected() {
        let default = match kind {
            "duration" => format_go_duration(parse_go_duration(default).unwrap()),
            _ => default.to_owned(),
        };
        match flag(name).map(Flag::default_text) {
            Some(ours) if ours == default => {}
            ours => differences.push(format!("{name}: Go {default:?}, ours {ours:?}")),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn what_is_not_the_go_autoscalers_is_an_addition_and_said_to_be_one() {
    let theirs: BTreeSet<&str> = expected().map(|(name, ..)| name).collect();
    for flag in flags() {
        assert_eq!(
            flag.is_addition(),
            !theirs.contains(flag.name),
            "{}",
            flag.name
        );
    }
    assert_eq!(theirs.len(), 168, "the list is cut short");
}

#[test]
fn names_are_unique_and_written_with_dashes() {
    let mut seen = BTreeSet::new();
    for flag in flags() {
        assert!(seen.insert(flag.name), "{} is there twice", flag.name);
        assert!(
            flag.name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            "{}",
            flag.name
        );
        assert!(flag.help().ends_with('.'), "{}: {}", flag.name, flag.help());
    }
}

/// A value that a type of the Go autoscaler takes for no flag, with another that it takes.
fn bad_and_good_value(name: &str, kind: &str) -> (Option<&'static str>, &'static str) {
    match (kind, name) {
        ("bool", "enable-dynamic-resource-allocation") => (Some("yes"), "true"),
        ("bool", _) => (Some("yes"), "T"),
        ("int", _) => (Some("1.5"), "0x20"),
        ("uint", _) => (Some("-1"), "7"),
        ("float", _) => (Some("half"), "2.5e-1"),
        ("duration", "leader-elect-lease-duration" | "leader-elect-renew-deadline") => {
            (Some("10"), "11s")
        }
        ("duration", "leader-elect-retry-period") => (Some("10"), "100ms"),
        ("duration", _) => (Some("10"), "1h30m"),
        ("quantity", _) => (Some("lots"), "64Ki"),
        ("severity", _) => (Some("loud"), "error"),
        ("gates", _) => (Some("SomeGate"), "SomeGate=true"),
        ("strings", _) => (Some("\"open"), "a,b"),
        ("string", "cloud-provider") => (Some("gce"), "aws"),
        ("string", "cores-total" | "memory-total") => (Some("5"), "1:5"),
        ("string", "estimator") => (Some("oldschool"), "binpacking"),
        ("string", "expander") => (Some("cheapest"), "price,random"),
        ("string", "drain-priority-config") => (Some("1"), "0:60,1000:20"),
        ("string", "leader-elect-resource-lock") => (Some("endpoints"), "leases"),
        ("string", "vmodule") => (Some("file"), "file=3"),
        ("string", "logging-format") => (Some("xml"), "json"),
        ("string", "log-backtrace-at") => (Some("12"), "decide.rs:12"),
        ("string-array", "nodes") => (Some("workers"), "1:2:workers"),
        ("string-array", "node-group-auto-discovery") => (Some("mig:namePrefix=p"), "asg:tag=a"),
        ("string-array", "gpu-total") => (Some("1:2"), "a100:0:4"),
        ("string" | "string-array", _) => (None, "some text"),
        (other, _) => panic!("unknown type {other}"),
    }
}

#[test]
fn every_flag_takes_what_its_type_takes_and_nothing_else() {
    for (name, kind, default) in expected() {
        let known = flag(name).unwrap();
        if is_of_another_cloud(known) {
            continue;
        }
        let (bad, good) = bad_and_good_value(name, kind);
        // `v` has a grammar of its own: decimal only.
        let good = if name == "v" { "4" } else { good };
        if let Some(bad) = bad {
            let errors = Config::parse([format!("--{name}={bad}")]).unwrap_err();
            assert!(
                matches!(&errors[..], [FlagError::BadValue { flag, value, .. }]
                    if *flag == name && value == bad),
                "{name}: {errors:?}"
            );
        }
        // A scheduler's verbosity is capped to `--v`, which comes before it here.
        let (config, _) = Config::parse(["--v=99".to_owned(), format!("--{name}={good}")])
            .unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
        let shown = known.value_text(&config);
        assert!(
            shown != default || good == default || good == "T",
            "{name}: {good} left the default {shown}"
        );
        let is_bool = known.kind == Kind::Bool;
        assert_eq!(is_bool, kind == "bool", "{name}");
        assert_eq!(known.kind == Kind::List, kind == "string-array", "{name}");
    }
}

#[test]
fn every_bool_can_be_switched_the_other_way() {
    for flag in flags().filter(|flag| flag.kind == Kind::Bool && !is_of_another_cloud(flag)) {
        let other = flag.default_text() != "true";
        // `--token-rotation` has to be told whose credential.
        let argument = format!("--{}={other}", flag.name);
        let parsed = Config::parse(["--token-cluster=prod".to_owned(), argument]);
        match flag.status {
            Status::Locked { .. } => assert!(parsed.is_err(), "{}", flag.name),
            _ => assert_eq!(
                flag.value_text(&parsed.unwrap().0),
                other.to_string(),
                "{}",
                flag.name
            ),
        }
    }
}
