//! `--drain-priority-config`: how long pods of a priority may take to end.

use crate::{
    flag::{BadValue, FlagValue, Kind},
    value::plain::read_last,
};

/// How long the pods of one priority group may take to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DrainPriority {
    /// The least priority of the pods in the group.
    pub priority: i32,
    /// Longest termination that is waited for, in seconds.
    pub grace_seconds: i64,
}

/// The groups in ascending order of priority; empty where pods are drained all at once.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DrainPriorities(Vec<DrainPriority>);

impl DrainPriorities {
    /// The groups in ascending order of priority.
    pub fn as_slice(&self) -> &[DrainPriority] {
        &self.0
    }

    /// Whether pods are drained all at once.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut groups = text
            .split(',')
            .map(|pair| {
                let (priority, seconds) = pair
                    .split_once(':')
                    .ok_or_else(|| format!("`{pair}` has no `:`"))?;
                Ok(DrainPriority {
                    priority: priority
                        .parse()
                        .map_err(|_| format!("the priority `{priority}` is not an integer"))?,
                    grace_seconds: seconds
                        .parse()
                        .map_err(|_| format!("the seconds `{seconds}` are not an integer"))?,
                })
            })
            .collect::<Result<Vec<_>, String>>()
            .map_err(|problem| {
                format!("Invalid configuration, parsing --drain-priority-config: {problem}")
            })?;
        groups.sort_by_key(|group| group.priority);
        Ok(Self(groups))
    }
}

impl FlagValue for DrainPriorities {
    const KIND: Kind = Kind::Scalar;
    const FORM: &'static str = "PRIORITY:SECONDS[,…]";
    const EXPECTED: &'static str = "pairs such as `10000:20,1000:100,0:60`";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_last(given, Self::parse)
    }

    fn show(&self) -> String {
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|group| format!("{}:{}", group.priority, group.grace_seconds))
            .collect();
        pairs.join(",")
    }
}
