//! Where the log goes: standard error, one line an event. `WINDLASS_LOG` sets what is said, as
//! `debug` or `windlass=debug,kube=info`.

use tracing_subscriber::EnvFilter;

/// Starts the log. What cannot be read in `WINDLASS_LOG` is `info`.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("WINDLASS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A second start is a test's: the first one's log is good enough.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}
