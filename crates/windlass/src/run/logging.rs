use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use windlass_config::{LogFormat, Logging};

/// From this verbosity on, what explains is logged: klog's habit.
const EXPLAINS: u32 = 4;
/// From this one on, everything of ours.
const EVERYTHING: u32 = 6;
/// From this one on, the libraries too.
const LIBRARIES: u32 = 8;

/// Begins to log to stderr.
pub(crate) fn begin(logging: &Logging) {
    let filter = filter(logging.verbosity.0);
    let registry = tracing_subscriber::registry();
    // Whoever began to log before (a test) goes on.
    let _ = match logging.format {
        LogFormat::Json => registry
            .with(filter)
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .with_writer(std::io::stderr),
            )
            .try_init(),
        LogFormat::Text => registry
            .with(filter)
            .with(
                tracing_subscriber::fmt::layer()
                    .with_ansi(false)
                    .with_writer(std::io::stderr),
            )
            .try_init(),
    };
}

fn filter(verbosity: u32) -> Targets {
    let ours = match verbosity {
        ..EXPLAINS => LevelFilter::INFO,
        EXPLAINS..EVERYTHING => LevelFilter::DEBUG,
        EVERYTHING.. => LevelFilter::TRACE,
    };
    // The client of the API server tells each failed connection as an error; what matters of
    // that is told once, by us.
    let (libraries, client) = if verbosity < LIBRARIES {
        (LevelFilter::WARN, LevelFilter::OFF)
    } else {
        (LevelFilter::DEBUG, LevelFilter::DEBUG)
    };
    Targets::new()
        .with_default(libraries)
        .with_target("kube_client", client)
        .with_target("windlass", ours)
        .with_target("windlass_core", ours)
        .with_target("windlass_kube", ours)
        .with_target("windlass_aws", ours)
        .with_target("windlass_aws_client", ours)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn verbosity_four_explains() {
        assert!(!filter(0).would_enable("windlass::run", &Level::DEBUG));
        assert!(filter(4).would_enable("windlass_kube::store", &Level::DEBUG));
        assert!(!filter(4).would_enable("hyper::proto", &Level::INFO));
        assert!(!filter(4).would_enable("kube_client::client::builder", &Level::ERROR));
    }
}
