//! What is wrong with a command line, and what is worth saying about one that is right.

use std::fmt;

use windlass_model::{Duration, format_go_duration};

/// One thing that is wrong with a command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlagError {
    /// `--help` or `-h`: not an error, but no configuration either.
    #[error("help was asked for")]
    Help,
    /// No flag has this name.
    #[error("unknown flag `{given}`{}", suggest(.suggestions))]
    Unknown {
        /// The flag as given, with its dashes.
        given: String,
        /// Flags of most similar name.
        suggestions: Vec<String>,
    },
    /// Dashes without a name.
    #[error("bad flag syntax: `{given}`")]
    Syntax {
        /// The argument.
        given: String,
    },
    /// The last argument is a flag that needs a value.
    #[error("`--{flag}` needs a value: expected {expected}")]
    MissingValue {
        /// Name of the flag.
        flag: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// The value is not one that the flag takes.
    #[error("`--{flag}={value}`: {problem}: expected {expected}")]
    BadValue {
        /// Name of the flag.
        flag: &'static str,
        /// The value as given.
        value: String,
        /// What is wrong with it.
        problem: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The flag is another cloud's.
    #[error("`--{flag}` is a flag for {cloud}: {instead}")]
    OtherCloud {
        /// Name of the flag.
        flag: &'static str,
        /// The cloud.
        cloud: &'static str,
        /// What to do on AWS.
        instead: &'static str,
    },
    /// The value is one that the flag takes, but it cannot be, alone or beside another's.
    #[error("{problem}")]
    Refused {
        /// Names of the flags that are concerned.
        flags: Vec<&'static str>,
        /// What is wrong, with the values.
        problem: String,
    },
}

impl FlagError {
    /// Names of the known flags that the error is about.
    pub fn flags(&self) -> &[&'static str] {
        match self {
            Self::Help | Self::Unknown { .. } | Self::Syntax { .. } => &[],
            Self::MissingValue { flag, .. }
            | Self::BadValue { flag, .. }
            | Self::OtherCloud { flag, .. } => std::slice::from_ref(flag),
            Self::Refused { flags, .. } => flags,
        }
    }
}

fn suggest(suggestions: &[String]) -> String {
    let quoted: Vec<String> = suggestions
        .iter()
        .map(|suggestion| format!("`{suggestion}`"))
        .collect();
    if quoted.is_empty() {
        String::new()
    } else {
        format!(": did you mean {}?", quoted.join(" or "))
    }
}

/// Something worth saying about a command line that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The flag was set to other than its default, and is not acted on yet.
    NotYet {
        /// Name of the flag.
        flag: &'static str,
        /// Its value.
        value: String,
    },
    /// The flag does nothing.
    NoEffect {
        /// Name of the flag.
        flag: &'static str,
        /// Why.
        why: &'static str,
    },
    /// The flag, or its value, should no longer be used.
    Deprecated {
        /// Name of the flag.
        flag: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// An argument that is no flag; it is ignored.
    Argument {
        /// The argument.
        argument: String,
        /// The boolean flag in front of it that it may have been meant for.
        after: Option<&'static str>,
    },
    /// `--max-startup-time` was raised.
    StartupTimeRaised {
        /// What was given.
        from: Duration,
        /// What counts.
        to: Duration,
    },
    /// `--scheduler-verbosity` was lowered to `--v`.
    SchedulerVerbosityCapped {
        /// What was given.
        from: i64,
        /// What counts.
        to: i64,
    },
    /// `--node-group-auto-discovery` was given more than once, and groups must carry the tags
    /// of all of them.
    DiscoveryCombined {
        /// The tags that are searched for.
        tags: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet { flag, value } => {
                write!(formatter, "`--{flag}={value}` is not acted on yet")
            }
            Self::NoEffect { flag, why } => write!(formatter, "`--{flag}` does nothing: {why}"),
            Self::Deprecated { flag, instead } => {
                write!(formatter, "`--{flag}` is deprecated: {instead}")
            }
            Self::Argument {
                argument,
                after: None,
            } => write!(formatter, "`{argument}` is not a flag and is ignored"),
            Self::Argument {
                argument,
                after: Some(flag),
            } => write!(
                formatter,
                "`{argument}` is not a flag and is ignored: write `--{flag}={argument}` if it \
                 was meant for `--{flag}`, which is now `true`"
            ),
            Self::StartupTimeRaised { from, to } => write!(
                formatter,
                "`--max-startup-time={}` is raised to {}, the larger of `--max-inactivity` and \
                 `--max-failing-time`",
                format_go_duration(*from),
                format_go_duration(*to)
            ),
            Self::SchedulerVerbosityCapped { from, to } => write!(
                formatter,
                "`--scheduler-verbosity={from}` is lowered to {to}, the value of `--v`"
            ),
            Self::DiscoveryCombined { tags } => write!(
                formatter,
                "several `--node-group-auto-discovery`: a group must carry all of the tags \
                 {tags}; `--aws-discovery-mode=any` takes those that match one of them"
            ),
        }
    }
}
