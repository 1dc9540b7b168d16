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
    "vmodule" => vmodule: VModule = VModule::default(), NotYet;

    /// How a log line is written: `text` or `json`.
    "logging-format" => format: LogFormat = LogFormat::Text, Acted;

    /// Longest time that log lines are kept back. More than 0.
    "log-flush-frequency" => flush_frequency: Duration = seconds(5), NotYet;

    /// In format `text`: errors to stderr, everything else to stdout.
    "log-text-split-stream" => text_split_stream: bool = false, NotYet;

    /// In format `text` with split streams: bytes of stdout kept back.
    "log-text-info-buffer-size" => text_info_buffer_size: Quantity = Quantity::ZERO, NotYet;

    /// In format `json`: errors to stderr, everything else to stdout.
    "log-json-split-stream" => json_split_stream: bool = false, NotYet;

    /// In format `json` with split streams: bytes of stdout kept back.
    "log-json-info-buffer-size" => json_info_buffer_size: Quantity = Quantity::ZERO, NotYet;

    /// Write the source file's directory into each line.
    "add-dir-header" => add_dir_header: bool = false, NotYet;

    /// Write to stderr as well as to a file.
    "alsologtostderr" => also_log_to_stderr: bool = false, NotYet;

    /// Least severity written to stderr as well as to a file.
    "alsologtostderrthreshold" => also_log_to_stderr_threshold: Severity = Severity::Info, NotYet;

    /// `file:line` whose log lines get a stack trace.
    "log-backtrace-at" => backtrace_at: Option<TraceLocation> = None, NotYet;

    /// Directory of log files, with `--logtostderr=false`.
    "log-dir" => directory: Option<String> = None, NotYet;

    /// Log file, with `--logtostderr=false`; appended to.
    "log-file" => file: Option<String> = None, NotYet;

    /// Size in MB at which a log file is started anew; 0 for none.
    "log-file-max-size" => file_max_size: u64 = 1800, NotYet;

    /// Write to stderr, not to files.
    "logtostderr" => log_to_stderr: bool = true, NotYet;

    /// Let `--stderrthreshold` count only where `--logtostderr` is off.
    "legacy-stderr-threshold-behavior" => legacy_stderr_threshold_behavior: bool = false, NotYet;

    /// Write a line to the file of its own severity only.
    "one-output" => one_output: bool = false, NotYet;

    /// Leave out time, severity and source in front of each line.
    "skip-headers" => skip_headers: bool = false, NotYet;

    /// Leave out the heading of a log file.
    "skip-log-headers" => skip_log_headers: bool = false, NotYet;

    /// Least severity written to stderr.
    "stderrthreshold" => stderr_threshold: Severity = Severity::Info, NotYet;

    /// Kubernetes feature gates.
    "feature-gates" => feature_gates: FeatureGates = FeatureGates::default(), NotYet;
}
