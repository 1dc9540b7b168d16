//! Where the log goes: standard error, one line an event. `WINDLASS_LOG` sets what is said, as
//! `debug` or `windlass=debug,kube=info`.

use tracing_subscriber::EnvFilter;

/// Starts the log of a command that works on and on. What cannot be read in `WINDLASS_LOG` is
/// `info`.
pub(crate) fn start() {
    start_with("info");
}

/// Starts the log of a command that answers and ends: without `WINDLASS_LOG`, what is wrong.
#[cfg(feature = "simulate")]
pub(crate) fn start_quietly() {
    start_with("warn");
}

fn start_with(default: &str) {
    let filter =
        EnvFilter::try_from_env("WINDLASS_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // A second start is a test's: the first one's log is good enough.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}
