//! A cluster, a cloud and a clock on paper, played with the production decision code.
//!
//! A [`Scenario`] is read from YAML or JSON. [`decide_once`] takes one decision at its start and
//! gives the document that conformance cases compare; [`play`] runs simulated time and gives a
//! [`Report`]; [`play_with_faults`] does so while calls fail, clocks jump and processes are killed;
//! [`explain()`] says why.
//!
//! The crate refuses to know the network and the wall clock; files are opened by its caller. The
//! same scenario gives the same bytes.

mod decision;
mod explain;
mod once;
mod report;
mod scenario;
mod world;

pub use decision::DecisionDocument;
pub use explain::{
    Change, DESCRIPTION, ExplainError, Explanation, Link, Subject, TemplatePart, explain,
};
pub use once::{Once, Timings, decide_once};
pub use report::{Counts, Entry, HEADING, Report, Summary};
pub use scenario::{Scenario, ScenarioError, ScenarioReader};
pub use world::{BudgetKeeper, FaultReport, Faults, Progress, play, play_with_faults};
