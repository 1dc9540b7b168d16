//! An operator's own commands around a join.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::NodeConfigError;
use super::config::go_duration;

/// A command that is run before or after the join, by bash, as root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommandConfig {
    /// What bash runs: one line or a whole script. No secret belongs here: whoever may describe
    /// the instance reads it.
    pub run: String,
    /// Time after which it is ended.
    #[serde(default = "default_timeout", with = "go_duration")]
    pub timeout: Duration,
    /// Whether the join fails if it fails.
    #[serde(default)]
    pub required: bool,
}

fn default_timeout() -> Duration {
    Duration::from_mins(2)
}

impl CommandConfig {
    /// One that may fail, with the default time.
    pub fn new(run: &str) -> Self {
        Self {
            run: run.to_owned(),
            timeout: default_timeout(),
            required: false,
        }
    }

    /// Its first line that is more than a comment, which names it in the log.
    pub fn name(&self) -> &str {
        let is_code = |line: &&str| !line.is_empty() && !line.starts_with('#');
        let line = self.run.lines().map(str::trim).find(is_code);
        line.unwrap_or_default()
    }

    pub(crate) fn check(&self, field: &'static str) -> Result<(), NodeConfigError> {
        let wrong = |value: &str, expected| {
            Err(NodeConfigError::Field {
                field,
                value: value.to_owned(),
                expected,
            })
        };
        if self.name().is_empty() || self.run.contains('\0') {
            return wrong(&self.run, "a command for bash");
        }
        // The script of images without Windlass counts whole seconds.
        if self.timeout < Duration::from_secs(1) {
            return wrong(
                &format!("{:?}", self.timeout),
                "a timeout of a second or more",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_named_by_its_first_line_of_code() {
        let named = |run| CommandConfig::new(run).name().to_owned();
        assert_eq!(
            named("#!/bin/bash\n\n  # mounts\n  mount /data\n"),
            "mount /data"
        );
        assert!(CommandConfig::new("# nothing\n").check("preJoin").is_err());
        let mut short = CommandConfig::new("true");
        short.timeout = Duration::from_millis(10);
        let error = short.check("postJoin").unwrap_err().to_string();
        assert!(error.starts_with("postJoin: `10ms`"), "{error}");
    }
}
