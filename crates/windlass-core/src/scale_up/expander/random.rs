//! `random`: any of the options, the same one for the same seed and history.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use crate::decide::Loop;

/// One of `places`, all equally likely.
pub(super) fn draw(context: &mut Loop<'_>, places: &[usize]) -> Option<usize> {
    let count = u64::try_from(places.len())
        .ok()
        .filter(|count| *count > 0)?;
    let mut generator = ChaCha8Rng::seed_from_u64(context.config.process.seed);
    generator.set_stream(context.memory.random_draws);
    context.memory.random_draws += 1;
    let place = usize::try_from(generator.next_u64() % count).ok()?;
    places.get(place).copied()
}
