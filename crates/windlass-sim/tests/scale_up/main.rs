//! The loop's first half, rule by rule: the flags that steer it, what it says in events and
//! metrics, what outlives a restart, and what holds for any cluster.

mod events;
mod flags;
mod metrics;
mod restart;
mod world;
