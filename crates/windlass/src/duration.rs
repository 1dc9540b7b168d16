//! Durations on the command line.

use std::time::Duration;

/// Reads a duration in Go's form, such as `1h30m` or `90s`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let duration = windlass_model::parse_go_duration(text).map_err(|error| error.to_string())?;
    Duration::try_from(duration).map_err(|_| "must not be negative".to_owned())
}
