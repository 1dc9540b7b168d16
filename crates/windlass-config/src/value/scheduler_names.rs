//! Names of schedulers whose pods are treated alike.

use std::collections::BTreeSet;

use crate::{
    flag::{BadValue, FlagValue, Kind},
    grammar::{join_line, split_line},
};

/// The scheduler of a pod that names none.
const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// A set of scheduler names. `default-scheduler` stands for pods without a scheduler name
/// too.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SchedulerNames(BTreeSet<String>);

impl SchedulerNames {
    /// Whether pods of this scheduler are meant; an empty name is a pod that names none.
    pub fn contains(&self, scheduler_name: &str) -> bool {
        self.0.contains(scheduler_name)
            || scheduler_name.is_empty() && self.0.contains(DEFAULT_SCHEDULER)
    }

    /// Whether no scheduler is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl FlagValue for SchedulerNames {
    const KIND: Kind = Kind::CommaList;
    const FORM: &'static str = "NAME[,…]";
    const EXPECTED: &'static str = "names separated by commas";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        let mut names = BTreeSet::new();
        for text in given {
            names.extend(split_line(text).map_err(|problem| BadValue::new(text, problem))?);
        }
        Ok(Self(names))
    }

    fn show(&self) -> String {
        join_line(self.iter())
    }
}
