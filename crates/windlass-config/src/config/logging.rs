use windlass_model::{Duration, Quantity};

use super::seconds;
use crate::{
    flag::flag_group,
    value::{FeatureGates, LogFormat, Severity, TraceLocation, VModule, Verbosity},
};

flag_group! {
    /// What is logged, and how: klog's flags.
    struct Logging in logging, "Logging and feature gates";

    /// Log verbosity.
    "v" => verbosity: Verbosity = Verbosity(0), Acted;

    /// Log verbosity by source file: `pattern=level`.
    "vmodule" => vmodule: VModule = VModule::default(), Acted;

    /// How a log line is written: `text` or `json`.
    "logging-format" => format: LogFormat = LogFormat::Text, Acted;

    /// Longest time that log lines are kept back. More than 0.
    "log-flush-frequency" => flush_frequency: Duration = seconds(5),
        NoEffect { why: "each line is written at once, none is kept back" };

    /// In format `text`: errors to stderr, everything else to stdout.
    "log-text-split-stream" => text_split_stream: bool = false, Acted;

    /// In format `text` with split streams: bytes of stdout kept back.
    "log-text-info-buffer-size" => text_info_buffer_size: Quantity = Quantity::ZERO,
        NoEffect { why: "each line is written at once, none is kept back" };

    /// In format `json`: errors to stderr, everything else to stdout.
    "log-json-split-stream" => json_split_stream: bool = false, Acted;

    /// In format `json` with split streams: bytes of stdout kept back.
    "log-json-info-buffer-size" => json_info_buffer_size: Quantity = Quantity::ZERO,
        NoEffect { why: "each line is written at once, none is kept back" };

    /// Write the source file's directory into each line.
    "add-dir-header" => add_dir_header: bool = false, Acted;

    /// Write to stderr as well as to a file.
    "alsologtostderr" => also_log_to_stderr: bool = false, Acted;

    /// Least severity written to stderr as well as to a file.
    "alsologtostderrthreshold" => also_log_to_stderr_threshold: Severity = Severity::Info, Acted;

    /// `file:line` whose log lines get a stack trace.
    "log-backtrace-at" => backtrace_at: Option<TraceLocation> = None,
        NoEffect { why: "the program carries no symbols that a stack trace could name" };

    /// Directory of log files, with `--logtostderr=false`.
    "log-dir" => directory: Option<String> = None, Acted;

    /// Log file, with `--logtostderr=false`; appended to.
    "log-file" => file: Option<String> = None, Acted;

    /// Size in MB at which a log file is started anew; 0 for none.
    "log-file-max-size" => file_max_size: u64 = 1800, Acted;

    /// Write to stderr, not to files.
    "logtostderr" => log_to_stderr: bool = true, Acted;

    /// Let `--stderrthreshold` count only where `--logtostderr` is off.
    "legacy-stderr-threshold-behavior" => legacy_stderr_threshold_behavior: bool = false, Acted;

    /// Write a line to the file of its own severity only.
    "one-output" => one_output: bool = false, Acted;

    /// Leave out time, severity and source in front of each line.
    "skip-headers" => skip_headers: bool = false, Acted;

    /// Leave out the heading of a log file.
    "skip-log-headers" => skip_log_headers: bool = false, Acted;

    /// Least severity written to stderr.
    "stderrthreshold" => stderr_threshold: Severity = Severity::Info, Acted;

    /// Kubernetes feature gates.
    "feature-gates" => feature_gates: FeatureGates = FeatureGates::default(),
        NoEffect { why: "no code of Kubernetes is in this program whose features could be switched" };
}
