use rand::{CryptoRng, RngExt};

use super::{Outcome, Settings, Surroundings, TurnError, turn};

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
    loop {
        // A retry does not wait again: its backoff has its own jitter.
        if coordination == Coordination::Age && failures == 0 {
            tokio::time::sleep(settings.spread_wait(random.random())).await;
        }
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
