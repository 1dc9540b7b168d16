//! Waiting for a condition with a deadline.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at that is to stay, and at first one that is to come.
const INTERVAL: Duration = Duration::from_millis(50);
/// How often one is looked at that takes its time: looks of many suites cost each other theirs.
const LONGEST_INTERVAL: Duration = Duration::from_millis(250);

/// Something a condition may say: `true` or `Some` when it holds.
pub trait Outcome {
    /// What the wait gives back.
    type Value;
    /// The value, when the condition holds.
    fn value(self) -> Option<Self::Value>;
}

impl Outcome for bool {
    type Value = ();
    fn value(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Outcome for Option<T> {
    type Value = T;
    fn value(self) -> Option<T> {
        self
    }
}

/// Looks at `condition` until it holds (`true`, or `Some` of what is given back).
///
/// An error of the condition counts as "not yet": a part that is being restarted answers none. Once
/// the deadline is over it is the cause of the failure.
pub fn wait_for<O: Outcome>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Result<O>,
) -> Result<O::Value> {
    let begun = Instant::now();
    loop {
        let elapsed = begun.elapsed();
        let is_last = deadline <= elapsed;
        match condition().map(Outcome::value) {
            Ok(Some(value)) => return Ok(value),
            Err(error) if is_last => return Err(error.context(over(what, deadline))),
            Ok(None) if is_last => bail!("{}", over(what, deadline)),
            Ok(None) | Err(_) => thread::sleep((elapsed / 10).clamp(INTERVAL, LONGEST_INTERVAL)),
        }
    }
}

/// Sees to it that `condition` holds at every look for the whole of `time`.
pub fn stays(
    what: &str,
    time: Duration,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < time {
        if !condition()? {
            bail!(
                "it did not stay so for {time:?}: {what}; it ended after {:?}",
                begun.elapsed()
            );
        }
        thread::sleep(INTERVAL);
    }
    Ok(())
}

fn over(what: &str, deadline: Duration) -> String {
    format!("waited {deadline:?} in vain for: {what}")
}
