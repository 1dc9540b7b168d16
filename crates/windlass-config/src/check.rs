//! What is checked once all flags are read, and what is adjusted then.

use windlass_model::Duration;

use crate::{
    config::Config,
    diagnostic::{FlagError, Warning},
    value::{DiscoveryMode, Expander, LogFormat, VModule},
};

/// Value of `--max-graceful-termination-sec` that counts as not given.
const DEFAULT_GRACEFUL_TERMINATION_SEC: i64 = 600;

/// What cannot be, alone or together. What concerns a flag that is in error already is left
/// out: its field holds a default, about which nobody asked.
pub(crate) fn check(config: &Config, earlier: &[FlagError]) -> Vec<FlagError> {
    let mut found = Vec::new();
    let mut refuse = |flags: &[&'static str], problem: String| {
        let is_in_error = |flag| earlier.iter().any(|error| error.flags().contains(flag));
        if !flags.iter().any(is_in_error) {
            found.push(FlagError::Refused {
                flags: flags.to_vec(),
                problem,
            });
        }
    };
    let Config {
        process,
        actuation,
        scheduler,
        features,
        scale_up,
        leader_election,
        logging,
        ..
    } = config;

    if process.token_rotation && process.token_cluster.is_none() {
        refuse(
            &["token-rotation", "token-cluster"],
            "--token-rotation needs --token-cluster: whose join credential is to be kept fresh"
                .to_owned(),
        );
    }

    if !actuation.drain_priority_config.is_empty()
        && actuation.max_graceful_termination_sec != DEFAULT_GRACEFUL_TERMINATION_SEC
    {
        refuse(
            &["drain-priority-config", "max-graceful-termination-sec"],
            "Invalid configuration, could not use --drain-priority-config together with \
             --max-graceful-termination-sec"
                .to_owned(),
        );
    }
    if scheduler.predicate_parallelism < 1 {
        refuse(
            &["predicate-parallelism"],
            format!(
                "`--predicate-parallelism={}`: there must be at least 1 worker",
                scheduler.predicate_parallelism
            ),
        );
    }
    if !features.dynamic_resource_allocation {
        refuse(
            &["enable-dynamic-resource-allocation"],
            "`--enable-dynamic-resource-allocation=false`: dynamic resource allocation is part \
             of Kubernetes and cannot be switched off; leave the flag out"
                .to_owned(),
        );
    }
    if !scale_up.allowed_scheduler_names.is_empty() {
        let stray: Vec<&str> = scale_up
            .bypassed_scheduler_names
            .iter()
            .filter(|name| !scale_up.allowed_scheduler_names.contains(name))
            .collect();
        if !stray.is_empty() {
            refuse(
                &["bypassed-scheduler-names", "allowed-scheduler-names"],
                format!(
                    "`--bypassed-scheduler-names` must be among `--allowed-scheduler-names`, \
                     and {} is not: add it there or leave it out here",
                    stray.join(", ")
                ),
            );
        }
    }
    if scale_up.expander.contains(Expander::Grpc) && scale_up.grpc_expander_cert.is_none() {
        refuse(
            &["expander", "grpc-expander-cert"],
            "GRPC Expander Cert not specified, insecure connections not allowed: name the CA \
             certificate's file by `--grpc-expander-cert`"
                .to_owned(),
        );
    }
    if logging.flush_frequency <= Duration::ZERO {
        refuse(
            &["log-flush-frequency"],
            "`--log-flush-frequency` must be more than 0".to_owned(),
        );
    }
    if logging.format == LogFormat::Json && logging.vmodule != VModule::default() {
        refuse(
            &["logging-format", "vmodule"],
            "`--vmodule` works with `--logging-format=text` only".to_owned(),
        );
    }
    if leader_election.enabled {
        for (flags, problem) in leader_election.problems() {
            refuse(flags, problem);
        }
    }
    found
}

/// Brings values into line with others, and says so.
pub(crate) fn adjust(config: &mut Config) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if !config.scale_down.enabled {
        warnings.push(Warning::Deprecated {
            flag: "scale-down-enabled",
            instead: "to keep a node, annotate it \
                      cluster-autoscaler.kubernetes.io/scale-down-disabled=true",
        });
    }
    let process = &mut config.process;
    let least = process.max_inactivity.max(process.max_failing_time);
    if process.max_startup_time < least {
        warnings.push(Warning::StartupTimeRaised {
            from: process.max_startup_time,
            to: least,
        });
        process.max_startup_time = least;
    }
    let most = i64::from(config.logging.verbosity.0);
    if config.scheduler.verbosity > most {
        warnings.push(Warning::SchedulerVerbosityCapped {
            from: config.scheduler.verbosity,
            to: most,
        });
        config.scheduler.verbosity = most;
    }
    if config.scale_up.expander.contains(Expander::Grpc) {
        warnings.push(Warning::NotYet {
            flag: "expander",
            value: Expander::Grpc.to_string(),
        });
    }
    let discovery = &config.node_groups.auto_discovery;
    if discovery.len() > 1 && config.aws.discovery_mode == DiscoveryMode::All {
        let tags: Vec<String> = discovery
            .iter()
            .flat_map(|spec| &spec.tags)
            .map(ToString::to_string)
            .collect();
        warnings.push(Warning::DiscoveryCombined {
            tags: tags.join(", "),
        });
    }
    warnings
}
