//! Judges any plan by rules that share no code with the decision.
//!
//! Each rule restates, plainly and slowly, what a plan must never do, from the model alone: grow a
//! group over its maximum or shrink it below its minimum, overdraw a disruption budget, remove the
//! node of a pod that may not be evicted, end an instance that no removal names. Whoever carries a
//! plan out refuses one that breaks a rule; tests judge every plan that they make.

mod evictions;
mod keeps;
mod removals;
mod requests;
mod sizes;

use std::fmt::Display;

use crate::{Input, Plan};

/// A rule that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {detail}")]
pub struct Violation {
    /// The rule, in a few words.
    pub rule: &'static str,
    /// What breaks it.
    pub detail: String,
}

/// Every rule that `plan` breaks, made of `input`.
pub fn check(input: &Input<'_>, plan: &Plan) -> Vec<Violation> {
    let mut violations = Violations(Vec::new());
    sizes::check(input, plan, &mut violations);
    removals::check(input, plan, &mut violations);
    evictions::check(input, plan, &mut violations);
    requests::check(input, plan, &mut violations);
    violations.0
}

struct Violations(Vec<Violation>);

impl Violations {
    fn add(&mut self, rule: &'static str, detail: impl Display) {
        self.0.push(Violation {
            rule,
            detail: detail.to_string(),
        });
    }

    fn unless(&mut self, holds: bool, rule: &'static str, detail: impl Display) {
        if !holds {
            self.add(rule, detail);
        }
    }
}
