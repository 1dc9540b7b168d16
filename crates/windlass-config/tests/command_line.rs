//! The grammar of the command line, its errors and its warnings.
#![expect(
    clippy::unwrap_used,
    reason = "the functions that the tests share are tests too"
)]

use proptest::prelude::*;
use windlass_config::{
    Config, DiscoveryMode, Expander, FlagError, TagFilter, Verbosity, Warning, flags,
};
use windlass_model::Duration;

/// The configuration of a command line without mistakes, and what is said about it.
#[track_caller]
fn parse(arguments: &[&str]) -> (Config, Vec<String>) {
    let (config, warnings) = Config::parse(arguments).unwrap();
    (config, warnings.iter().map(ToString::to_string).collect())
}

/// What is wrong with a command line.
#[track_caller]
fn errors(arguments: &[&str]) -> Vec<String> {
    let errors = Config::parse(arguments).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

/// What became of a command line, in the notation of `data/pflag_lines.go`.
fn outcome(arguments: &[&str], flag_names: &[&str]) -> String {
    let (config, warnings) = match Config::parse(arguments) {
        Ok(parsed) => parsed,
        Err(errors) if errors == [FlagError::Help] => return "help".to_owned(),
        Err(_) => return "error".to_owned(),
    };
    let mut parts: Vec<String> = flag_names
        .iter()
        .map(|name| {
            let value = match *name {
                "startup-taint" => config.templates.startup_taint.join(";"),
                "bypassed-scheduler-names" => {
                    let names: Vec<&str> =
                        config.scale_up.bypassed_scheduler_names.iter().collect();
                    names.join(";")
                }
                name => windlass_config::flag(name).unwrap().value_text(&config),
            };
            format!("{name}<{value}>")
        })
        .collect();
    let rest: Vec<&str> = warnings
        .iter()
        .filter_map(|warning| match warning {
            Warning::Argument { argument, .. } => Some(argument.as_str()),
            _ => None,
        })
        .collect();
    parts.push(format!("rest<{}>", rest.join(";")));
    parts.join(" ")
}

#[test]
fn command_lines_mean_what_they_mean_to_pflag() {
    let table = include_str!("data/pflag_lines.tsv");
    let mut differences = Vec::new();
    for line in table.lines() {
        let (line, expected) = line.split_once('\t').unwrap();
        let arguments: Vec<&str> = match line {
            "" => Vec::new(),
            line => line.split('|').collect(),
        };
        let named: Vec<&str> = expected
            .split("> ")
            .filter_map(|part| part.split_once('<'))
            .map(|(name, _)| name)
            .filter(|name| *name != "rest")
            .collect();
        // The names of schedulers are a set here.
        let expected = expected
            .replace("<b;a>", "<a;b>")
            .replace("<a;c;b>", "<a;b;c>");
        let ours = outcome(&arguments, &named);
        if ours != expected {
            differences.push(format!("{line:?}: pflag {expected}, ours {ours}"));
        }
    }
    assert!(table.lines().count() > 70, "the table is cut short");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn the_usual_manifest_is_understood() {
    let (config, warnings) = parse(&[
        "--v=4",
        "--stderrthreshold=info",
        "--cloud-provider=aws",
        "--skip-nodes-with-local-storage=false",
        "--node-group-auto-discovery=asg:tag=k8s.io/cluster-autoscaler/enabled,\
         k8s.io/cluster-autoscaler/demo=owned",
    ]);
    assert_eq!(config.logging.verbosity, Verbosity(4));
    assert!(!config.drain.skip_nodes_with_local_storage);
    let tag = |key: &str, value: Option<&str>| TagFilter {
        key: key.to_owned(),
        value: value.map(str::to_owned),
    };
    assert_eq!(
        config.node_groups.auto_discovery[0].tags,
        [
            tag("k8s.io/cluster-autoscaler/enabled", None),
            tag("k8s.io/cluster-autoscaler/demo", Some("owned")),
        ]
    );
    assert!(
        warnings
            .iter()
            .all(|warning| warning.ends_with("is not acted on yet")),
        "{warnings:?}"
    );
}

#[test]
fn all_mistakes_are_told_at_once_in_their_order() {
    assert_eq!(
        errors(&[
            "--scan-interval=10",
            "--expandr=random",
            "--nodes=1:2",
            "--nodes=3:2:workers",
            "--nodes=1:2:good",
            "--predicate-parallelism=0",
            "--cores-total",
        ]),
        [
            "unknown flag `--expandr`: did you mean `--expander`?",
            "`--cores-total` needs a value: expected two integers as `0:320`",
            "`--scan-interval=10`: time: missing unit in duration \"10\": expected a duration \
             such as `10s`, `2m30s` or `1h`",
            "`--nodes=1:2`: wrong nodes configuration: expected least size, largest size and \
             name as `1:10:workers`",
            "`--nodes=3:2:workers`: max size must be greater or equal to min size: expected \
             least size, largest size and name as `1:10:workers`",
            "`--predicate-parallelism=0`: there must be at least 1 worker",
        ]
    );
}

#[test]
fn a_flag_of_another_cloud_is_refused_by_name() {
    assert_eq!(
        errors(&["--gce-concurrent-refreshes", "4", "--regional"]),
        [
            "`--gce-concurrent-refreshes` is a flag for GCE: leave it out: Windlass works on AWS \
             and reads groups from Auto Scaling",
            "`--regional` is a flag for GCE: leave it out: Windlass works on AWS and reads \
             groups from Auto Scaling",
        ]
    );
    assert_eq!(
        errors(&["--cloud-provider=azure"]),
        [
            "`--cloud-provider=azure`: Unknown cloud provider: azure: expected `aws`, since \
          Windlass scales EC2 Auto Scaling groups only"
        ]
    );
}

#[test]
fn help_wins_over_mistakes() {
    let asked = Config::parse(["--v=x", "--help"]).unwrap_err();
    assert_eq!(asked, [FlagError::Help]);
}

#[test]
fn a_long_flag_behind_one_dash_is_recognised() {
    assert_eq!(
        errors(&["-cloud-provider=aws"]),
        ["unknown flag `-cloud-provider`: did you mean `--cloud-provider`?"]
    );
    assert_eq!(
        errors(&["-vmodule=a=1"]),
        ["unknown flag `-vmodule`: did you mean `--vmodule`?"]
    );
}

#[test]
fn a_flag_without_effect_says_so_and_a_default_says_nothing() {
    let (_, warnings) = parse(&[
        "--cluster-name=demo",
        "--leader-elect-resource-namespace=other",
        "--logtostderr=true",
        "--profiling",
        "--ignore-taint=slow-start",
    ]);
    assert_eq!(
        warnings,
        [
            "`--cluster-name` does nothing: groups on AWS are found by their names and tags",
            "`--leader-elect-resource-namespace` does nothing: the lease lives in `--namespace`",
            "`--profiling` does nothing: that page is the Go runtime's; `perf` profiles this program, \
             and `/metrics` has the time of each function",
            "`--ignore-taint` is deprecated: use `--startup-taint`",
        ]
    );
}

#[test]
fn what_can_mean_nothing_here_says_so() {
    let flags = [
        "--feature-gates=A=true",
        "--predicate-parallelism=8",
        "--scheduler-verbosity=0",
        "--log-backtrace-at=a.rs:1",
        "--log-flush-frequency=1s",
        "--log-text-info-buffer-size=1Ki",
    ];
    let (_, warnings) = parse(&flags);
    for (flag, warning) in flags.iter().zip(&warnings) {
        let name = flag.split('=').next().unwrap();
        let beginning = format!("`{name}` does nothing: ");
        assert!(warning.starts_with(&beginning), "{warning}");
    }
    assert_eq!(warnings.len(), flags.len());
}

#[test]
fn a_word_behind_a_bare_bool_is_told_apart() {
    let (config, warnings) = parse(&["--scale-down-enabled", "false", "stray"]);
    assert!(config.scale_down.enabled);
    assert_eq!(
        warnings,
        [
            "`false` is not a flag and is ignored: write `--scale-down-enabled=false` if it was \
             meant for `--scale-down-enabled`, which is now `true`",
            "`stray` is not a flag and is ignored",
        ]
    );
}

#[test]
fn a_text_that_is_checked_late_counts_only_the_last_time() {
    let (config, _) = parse(&["--expander=nonsense", "--expander=price"]);
    assert_eq!(config.scale_up.expander.as_slice(), [Expander::Price]);
    assert_eq!(
        errors(&["--scan-interval=x", "--scan-interval=1s"]).len(),
        1
    );
}

#[test]
fn expander_chains_are_checked_in_the_go_autoscalers_words() {
    let problem = |chain: &str| {
        let error = Config::parse([format!("--expander={chain}")]).unwrap_err();
        match &error[..] {
            [FlagError::BadValue { problem, .. }] => problem.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        problem("priority,least-waste,priority"),
        "Expander priority was specified multiple times, each expander must not be specified \
         more than once"
    );
    assert_eq!(
        problem("random,price"),
        "Expander price came after an expander random that will always return only one result, \
         this is not allowed since price will never be used"
    );
    assert_eq!(problem("cheapest"), "Expander cheapest not supported");
    assert_eq!(problem("priority, price"), "Expander  price not supported");
    assert_eq!(problem(""), "Expander  not supported");
    assert_eq!(
        errors(&["--expander=priority,grpc"]),
        [
            "GRPC Expander Cert not specified, insecure connections not allowed: name the CA \
          certificate's file by `--grpc-expander-cert`"
        ]
    );
    let (_, warnings) = parse(&["--expander=priority,grpc", "--grpc-expander-cert=ca.pem"]);
    assert!(warnings.contains(&"`--expander=grpc` is not acted on yet".to_owned()));
    let (config, _) = parse(&["--expander=priority,least-nodes,most-pods,random"]);
    assert_eq!(
        config.scale_up.expander.as_slice(),
        [
            Expander::Priority,
            Expander::LeastNodes,
            Expander::MostPods,
            Expander::Random
        ]
    );
}

#[test]
fn limits_are_two_integers_in_order() {
    let (config, _) = parse(&[
        "--cores-total=4:100",
        "--memory-total=1:2",
        "--gpu-total=a100:1:4",
    ]);
    assert_eq!(
        (config.limits.cores_total.min, config.limits.cores_total.max),
        (4, 100)
    );
    let bytes = config.limits.memory_total_bytes();
    assert_eq!((bytes.min, bytes.max), (1 << 30, 2 << 30));
    assert_eq!(config.limits.gpu_total[0].gpu_type, "a100");
    for bad in ["", "5", "1:2:3", "a:2", "1:b", "-1:2", "3:2", "1: 2"] {
        assert!(
            Config::parse([format!("--cores-total={bad}")]).is_err(),
            "{bad}"
        );
        assert!(
            Config::parse([format!("--memory-total={bad}")]).is_err(),
            "{bad}"
        );
        assert!(
            Config::parse([format!("--gpu-total=t:{bad}")]).is_err(),
            "{bad}"
        );
    }
    let huge = format!("--memory-total=0:{}", i64::MAX);
    assert_eq!(parse(&[&huge]).0.limits.memory_total_bytes().max, i64::MAX);
}

#[test]
fn discovery_rules_keep_colons_and_equal_signs_and_lose_blanks() {
    let (config, warnings) = parse(&[
        "--node-group-auto-discovery=asg:tag=my:label=a=b, second,third=",
        "--node-group-auto-discovery=asg:tag=fourth",
    ]);
    let rules = &config.node_groups.auto_discovery;
    assert_eq!(rules[0].to_string(), "asg:tag=my:label=a=b,second,third");
    assert_eq!(config.aws.discovery_mode, DiscoveryMode::All);
    assert!(
        warnings.contains(
            &"several `--node-group-auto-discovery`: a group must carry all of the tags \
              my:label=a=b, second, third, fourth; `--aws-discovery-mode=any` takes those that \
              match one of them"
                .to_owned()
        ),
        "{warnings:?}"
    );
    for (rule, problem) in [
        (
            "tag",
            "invalid node group auto discovery spec: no `:` behind the discoverer",
        ),
        ("mig:tag=a", "unsupported discoverer specified: mig"),
        ("asg:tag", "invalid key=value pair: tag"),
        ("asg:name=a", "unsupported parameter key: name"),
        ("asg:tag=", "tag value not supplied"),
        ("asg:tag=a,,b", "a tag without a key"),
        ("asg:tag==b", "a tag without a key"),
    ] {
        let errors = Config::parse([format!("--node-group-auto-discovery={rule}")]).unwrap_err();
        assert!(
            matches!(&errors[..], [FlagError::BadValue { problem: ours, .. }] if ours == problem),
            "{rule}: {errors:?}"
        );
    }
}

#[test]
fn static_groups_are_checked() {
    let (config, _) = parse(&["--nodes=0:5:a:b", "--nodes=1:1:c"]);
    assert_eq!(config.node_groups.nodes[0].name, "a:b");
    assert_eq!(config.node_groups.nodes.len(), 2);
    for (group, problem) in [
        ("5:workers", "wrong nodes configuration"),
        ("x:5:workers", "failed to set min size: x, expected integer"),
        ("1:y:workers", "failed to set max size: y, expected integer"),
        ("-1:5:workers", "min size must be >= 0"),
        (
            "5:1:workers",
            "max size must be greater or equal to min size",
        ),
        ("1:5: ", "name must not be blank"),
    ] {
        let errors = Config::parse([format!("--nodes={group}")]).unwrap_err();
        assert!(
            matches!(&errors[..], [FlagError::BadValue { problem: ours, .. }] if ours == problem),
            "{group}: {errors:?}"
        );
    }
}

#[test]
fn a_priority_drain_excludes_the_graceful_termination_limit() {
    let (config, _) = parse(&["--drain-priority-config=10000:20,1000:100,0:60"]);
    let priorities: Vec<(i32, i64)> = config
        .actuation
        .drain_priority_config
        .as_slice()
        .iter()
        .map(|group| (group.priority, group.grace_seconds))
        .collect();
    assert_eq!(priorities, [(0, 60), (1000, 100), (10000, 20)]);
    // 600 is the default: it cannot be told apart from a flag that was not given.
    parse(&[
        "--drain-priority-config=0:60",
        "--max-graceful-termination-sec=600",
    ]);
    assert_eq!(
        errors(&[
            "--drain-priority-config=0:60",
            "--max-graceful-termination-sec=30"
        ]),
        [
            "Invalid configuration, could not use --drain-priority-config together with \
          --max-graceful-termination-sec"
        ]
    );
    for bad in ["0", "0:1:2", "a:1", "0:b", "0:1,", "0: 1", "0:1 "] {
        let errors = errors(&[&format!("--drain-priority-config={bad}")]);
        assert!(
            errors[0].contains("Invalid configuration, parsing --drain-priority-config"),
            "{errors:?}"
        );
    }
}

#[test]
fn bypassed_schedulers_must_be_allowed_ones() {
    let (config, _) = parse(&[
        "--allowed-scheduler-names=default-scheduler,mine",
        "--bypassed-scheduler-names=mine",
    ]);
    assert!(config.scale_up.allowed_scheduler_names.contains(""));
    assert!(!config.scale_up.bypassed_scheduler_names.contains(""));
    parse(&["--bypassed-scheduler-names=mine"]);
    assert_eq!(
        errors(&[
            "--allowed-scheduler-names=mine",
            "--bypassed-scheduler-names=mine,other"
        ]),
        [
            "`--bypassed-scheduler-names` must be among `--allowed-scheduler-names`, and other is \
          not: add it there or leave it out here"
        ]
    );
}

#[test]
fn the_startup_time_is_raised_and_the_schedulers_verbosity_capped() {
    let (config, warnings) = parse(&["--max-startup-time=1m", "--scheduler-verbosity=5", "-v1"]);
    assert_eq!(config.process.max_startup_time, Duration::from_mins(15));
    assert_eq!(config.scheduler.verbosity, 1);
    assert!(
        warnings.contains(
            &"`--max-startup-time=1m0s` is raised to 15m0s, the larger of `--max-inactivity` and \
          `--max-failing-time`"
                .to_owned()
        )
    );
    assert!(
        warnings
            .contains(&"`--scheduler-verbosity=5` is lowered to 1, the value of `--v`".to_owned())
    );
}

#[test]
fn times_of_the_election_must_nest() {
    assert_eq!(
        errors(&["--leader-elect-lease-duration=10s"]),
        ["`--leader-elect-lease-duration` must be greater than `--leader-elect-renew-deadline`"]
    );
    assert_eq!(
        errors(&["--leader-elect-renew-deadline=2.4s"]),
        [
            "`--leader-elect-renew-deadline` must be more than 1.2 times \
          `--leader-elect-retry-period`"
        ]
    );
    assert_eq!(
        errors(&["--leader-elect-retry-period=0"]),
        ["`--leader-elect-retry-period` must be more than 0"]
    );
    parse(&["--leader-elect-renew-deadline=2401ms"]);
    parse(&["--leader-elect=false", "--leader-elect-lease-duration=10s"]);
}

#[test]
fn locked_and_empty_values_are_refused() {
    assert_eq!(
        errors(&["--enable-dynamic-resource-allocation=false"]),
        [
            "`--enable-dynamic-resource-allocation=false`: dynamic resource allocation is part of \
          Kubernetes and cannot be switched off; leave the flag out"
        ]
    );
    assert_eq!(
        errors(&["--log-flush-frequency=0"]),
        ["`--log-flush-frequency` must be more than 0"]
    );
    assert_eq!(
        errors(&["--logging-format=json", "--vmodule=a=1"]),
        ["`--vmodule` works with `--logging-format=text` only"]
    );
}

#[test]
fn switching_scale_down_off_is_deprecated() {
    let (_, warnings) = parse(&["--scale-down-enabled=false"]);
    assert!(
        warnings
            .iter()
            .any(|warning| warning.starts_with("`--scale-down-enabled` is deprecated")),
        "{warnings:?}"
    );
    assert_eq!(parse(&["--scale-down-enabled=true"]).1, [""; 0]);
}

#[test]
fn the_removal_budget_is_the_larger_of_a_number_and_a_share() {
    let budget = |arguments: &[&str], nodes| parse(arguments).0.safety.removals_per_hour(nodes);
    assert_eq!(budget(&[], 7), Some(20));
    assert_eq!(budget(&[], 81), Some(20));
    assert_eq!(budget(&[], 1000), Some(250));
    assert_eq!(budget(&["--max-removals-per-hour=0"], 1000), None);
    assert_eq!(
        budget(&["--max-removals-per-hour-percentage=0"], 1000),
        Some(20)
    );
    assert_eq!(
        budget(&["--max-removals-per-hour-percentage=-5"], 1000),
        Some(20)
    );
}

#[test]
fn klog_values_are_read_as_klog_does() {
    let (config, _) = parse(&[
        "--vmodule=a=1,,b=2",
        "--vmodule=c=3",
        "--stderrthreshold=Error",
        "--alsologtostderrthreshold=7",
        "--log-backtrace-at=decide.rs:7",
    ]);
    let levels: Vec<(&str, u32)> = config
        .logging
        .vmodule
        .0
        .iter()
        .map(|(pattern, level)| (pattern.as_str(), level.0))
        .collect();
    assert_eq!(levels, [("a", 1), ("b", 2), ("c", 3)]);
    for bad in [
        "--v=-1",
        "--v=0x4",
        "--v=2147483648",
        "--vmodule=a",
        "--vmodule==1",
        "--vmodule=a=b=1",
        "--log-backtrace-at=a:1",
        "--log-backtrace-at=a.rs:0",
    ] {
        assert!(Config::parse([bad]).is_err(), "{bad}");
    }
}

/// An argument that is often nearly a flag.
fn any_argument() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = flags().map(|flag| flag.name).collect();
    prop_oneof![
        any::<String>(),
        (
            "-{0,3}",
            prop::sample::select(names),
            "=?",
            "[-0-9a-z:,.=_\"µ ]{0,8}"
        )
            .prop_map(|(dashes, name, equals, value)| format!("{dashes}{name}{equals}{value}")),
    ]
}

proptest! {
    #[test]
    fn no_command_line_panics(arguments in prop::collection::vec(any_argument(), 0..6)) {
        match Config::parse(&arguments) {
            Ok((_, warnings)) => {
                prop_assert!(warnings.iter().all(|warning| !warning.to_string().is_empty()));
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                prop_assert!(errors.iter().all(|error| !error.to_string().is_empty()));
            }
        }
    }

    #[test]
    fn a_configuration_is_what_its_arguments_say(
        arguments in prop::collection::vec(any_argument(), 0..4),
    ) {
        if let Ok((config, _)) = Config::parse(&arguments) {
            let (again, _) = Config::parse(config.to_arguments()).unwrap();
            prop_assert_eq!(config, again);
        }
    }
}

#[test]
fn lists_survive_being_written_out() {
    let (config, _) = parse(&[
        "--startup-taint=with blank",
        "--startup-taint=second",
        "--bypassed-scheduler-names=\"a,b\",c",
        "--nodes=1:2:group one",
        "--feature-gates=A=true,B=false",
        "--status-taint=",
    ]);
    assert_eq!(Config::parse(config.to_arguments()).unwrap().0, config);
    let (config, _) = parse(&["--startup-taint="]);
    assert_eq!(config.to_arguments(), ["--startup-taint="]);
    assert_eq!(Config::default().to_arguments(), [""; 0]);
}
