//! The log of `windlass run`, written as klog and component-base write theirs, so that what reads
//! the Go autoscaler's log reads this one, and klog's flags mean what they mean there.

mod file;
mod line;
mod sink;
mod verbosity;

use std::sync::Arc;

use tracing::{Event, Subscriber};
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use windlass_config::Logging;

use line::Lines;
use sink::Sink;
use verbosity::Levels;

/// Begins to log.
///
/// # Errors
///
/// When a log file cannot be opened.
pub(crate) fn begin(logging: &Logging) -> anyhow::Result<()> {
    let log = Log {
        lines: Lines::new(logging),
        sink: Sink::open(logging)?,
    };
    let levels = Arc::new(Levels::new(logging));
    let most = levels.most_verbose();
    let filter = FilterFn::new(move |metadata| levels.enables(metadata)).with_max_level_hint(most);
    // Whoever began to log before (a test) goes on.
    let _ = tracing_subscriber::registry()
        .with(log.with_filter(filter))
        .try_init();
    Ok(())
}

/// Makes a line of each event and writes it.
struct Log {
    lines: Lines,
    sink: Sink,
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let severity = line::severity(*event.metadata().level());
        self.sink.write(severity, &self.lines.of(event));
    }
}
