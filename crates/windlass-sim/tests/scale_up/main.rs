//! The loop's first half, rule by rule: the flags that steer it, what it says in events and
//! metrics, what outlives a restart, and what holds for any cluster.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of tests are tests to clippy only inside a test function"
)]

mod events;
mod flags;
mod metrics;
mod random;
mod restart;
mod status;
mod world;
mod zones;
