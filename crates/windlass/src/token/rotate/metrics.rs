use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use windlass_provision::rotation::{Outcome, TurnError};

/// What the rotator counts, in the Prometheus text format.
pub(super) struct Metrics {
    file: Option<PathBuf>,
    renewed: u64,
    fresh: u64,
    failed: u64,
    conflicts: u64,
    remaining: Option<Duration>,
    age: Option<Duration>,
    live: Option<usize>,
}

/// How a look ended, in one word: a label of the metrics.
pub(super) fn result_of(result: &Result<Outcome, TurnError>) -> &'static str {
    match result {
        Ok(Outcome::Renewed { .. }) => "renewed",
        Ok(Outcome::Fresh { .. } | Outcome::CompatMended | Outcome::Yielded { .. }) => "fresh",
        Err(_) => "failed",
    }
}

impl Metrics {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Self {
            file,
            renewed: 0,
            fresh: 0,
            failed: 0,
            conflicts: 0,
            remaining: None,
            age: None,
            live: None,
        }
    }

    pub(super) fn count(
        &mut self,
        result: &Result<Outcome, TurnError>,
        remaining: Option<Duration>,
        age: Option<Duration>,
        live: Option<usize>,
    ) {
        match result {
            Ok(Outcome::Renewed { .. }) => self.renewed += 1,
            Ok(Outcome::Fresh { .. } | Outcome::CompatMended) => self.fresh += 1,
            Ok(Outcome::Yielded { .. }) => self.conflicts += 1,
            Err(_) => self.failed += 1,
        }
        self.remaining = remaining;
        self.age = age;
        self.live = live;
    }

    /// Replaces the file, so that a reader sees the old text or the new one.
    pub(super) fn write(&self) -> anyhow::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let draft = file.with_extension("tmp");
        std::fs::write(&draft, self.to_text())
            .and_then(|()| std::fs::rename(&draft, file))
            .with_context(|| format!("write `{}`", file.display()))
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, samples: &[(&str, u64)]| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        // Without a known token there is no sample, which the alert on absence tells.
        let remaining: Vec<(&str, u64)> = self
            .remaining
            .map(|remaining| ("", remaining.as_secs()))
            .into_iter()
            .collect();
        metric(
            "windlass_join_token_remaining_seconds",
            "gauge",
            "How long the published join token is still good.",
            &remaining,
        );
        let age: Vec<(&str, u64)> = self
            .age
            .map(|age| ("", age.as_secs()))
            .into_iter()
            .collect();
        metric(
            "windlass_join_token_age_seconds",
            "gauge",
            "How long ago the join token was published.",
            &age,
        );
        let live: Vec<(&str, u64)> = self
            .live
            .map(|live| ("", live as u64))
            .into_iter()
            .collect();
        metric(
            "windlass_join_token_live",
            "gauge",
            "Tokens of the rotators that have not expired.",
            &live,
        );
        metric(
            "windlass_join_token_rotations_total",
            "counter",
            "Looks at the published join token, by how they ended.",
            &[
                ("{result=\"failed\"}", self.failed),
                ("{result=\"fresh\"}", self.fresh),
                ("{result=\"renewed\"}", self.renewed),
            ],
        );
        metric(
            "windlass_join_token_publish_conflicts_total",
            "counter",
            "Renewals that another rotator was quicker with.",
            &[("", self.conflicts)],
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_in_the_text_format() {
        let mut metrics = Metrics::new(None);
        let fresh = Outcome::Fresh {
            remaining: Duration::from_mins(1),
        };
        let minute = Some(Duration::from_mins(1));
        metrics.count(&Ok(fresh), minute, minute, Some(2));
        let text = metrics.to_text();
        assert!(
            text.contains("\nwindlass_join_token_remaining_seconds 60\n"),
            "{text}"
        );
        assert!(text.contains("\nwindlass_join_token_live 2\n"), "{text}");
        assert!(
            text.contains("\nwindlass_join_token_age_seconds 60\n"),
            "{text}"
        );
        assert!(
            text.contains("\nwindlass_join_token_rotations_total{result=\"fresh\"} 1\n"),
            "{text}"
        );
    }
}
