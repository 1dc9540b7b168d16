//! What happens to a program at one of its calls: the first, the second, and so on to the last.

use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use windlass_testbed::proxy::{HeldRequest, Matcher, Request};
use windlass_testbed::wait_for;

/// The request with that number, from 0, of those that count.
pub fn nth_call(
    number: usize,
    counts: impl Fn(&Request) -> bool + Send + Sync + 'static,
) -> Matcher {
    let counter = AtomicUsize::new(0);
    Matcher::new(move |request| counts(request) && counter.fetch_add(1, Ordering::SeqCst) == number)
}

/// Whether the call came within `deadline`; not, if the program ended before.
pub fn was_held(held: &HeldRequest, child: &mut Child, deadline: Duration) -> Result<bool> {
    wait_for("the call or the end of the program", deadline, || {
        if held.wait(Duration::from_millis(20)).is_ok() {
            return Ok(Some(true));
        }
        let ended = child.try_wait().context("look at the program")?;
        Ok(ended.map(|_| false))
    })
}
