use rand::{CryptoRng, RngExt};

use super::{Outcome, Settings, Surroundings, TurnError, look, remaining, turn};

/// Who acts where there are several rotators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordination {
    /// Every rotator looks, each after a random wait, and acts by the parameter's age.
    Age,
    /// The caller lets one rotator at a time look, by a lease.
    Lease,
}

/// Looks again and again, and tells `report` of every turn. It ends only by being dropped, which
/// it may be at any moment: whatever was left half done, the next rotator finishes.
pub async fn keep(
    surroundings: &impl Surroundings,
    settings: &Settings,
    coordination: Coordination,
    random: &mut impl CryptoRng,
    mut report: impl FnMut(&Result<Outcome, TurnError>),
) {
    let mut failures = 0;
    // Rotators of one age keep apart, except where nodes wait for the first credential: that two of
    // them make one each is the lesser evil.
    let mut is_urgent =
        coordination == Coordination::Age && !is_usable(surroundings, settings).await;
    loop {
        // A retry does not wait again: its backoff has its own jitter.
        if coordination == Coordination::Age && failures == 0 && !is_urgent {
            tokio::time::sleep(settings.spread_wait(random.random())).await;
        }
        is_urgent = false;
        let result = turn(surroundings, settings, random).await;
        report(&result);
        let pause = if result.is_ok() {
            failures = 0;
            settings.pause(random.random())
        } else {
            failures += 1;
            settings.backoff(failures, random.random())
        };
        tokio::time::sleep(pause).await;
    }
}

/// Whether a node that boots now could join with what is published, as far as that can be told.
async fn is_usable(surroundings: &impl Surroundings, settings: &Settings) -> bool {
    match look(surroundings, settings).await {
        Ok((observation, _)) => {
            remaining(&observation).is_some_and(|left| settings.boot_budget <= left)
        }
        // The turn will say what is wrong, in its own time.
        Err(_) => true,
    }
}
