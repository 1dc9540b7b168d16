//! What AWS does and moto does not: launches that fail or take their time, limits of sizes,
//! lifecycle states, late listings, throttling, lost answers.
//!
//! [`Faults`] stands between a client and something that plays Auto Scaling as moto does: every
//! launch succeeds at once and nothing is ever late. It keeps the desired capacity that AWS would
//! show, lets the other side have only the instances that AWS would have by now, and rewrites the
//! answers. A test says what goes wrong, by group ([`Supply`]) and by call ([`Trouble`]), and
//! reads afterwards what was called ([`Entry`]) and which instances AWS chose to end by itself
//! ([`Victim`]).
//!
//! The other side is an [`Upstream`]: moto, by the test bed's proxy, or [`Fake`], which plays
//! Auto Scaling in the process and is fast enough for thousands of simulated hours.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use std::sync::Arc;
//! use windlass_faults::{Call, Fake, FakeGroup, Faults, Supply};
//!
//! let cloud = Arc::new(Fake::new());
//! cloud.create(FakeGroup::new("spot").sizes(0, 10, 0));
//! let faults = Faults::before(cloud);
//! faults.supply("spot", Supply::default().most(2));
//! let call = Call::form("SetDesiredCapacity", &[
//!     ("AutoScalingGroupName", "spot"),
//!     ("DesiredCapacity", "5"),
//! ]);
//! assert_eq!(faults.handle(call).await.unwrap().status, 200);
//! let truth = faults.truth("spot").await.unwrap();
//! assert_eq!((truth.desired, truth.instances.len()), (5, 2));
//! # }
//! ```
//!
//! The crate refuses to know Windlass: what checks it must not share its mistakes.

mod call;
mod clock;
mod fake;
mod faults;
mod group;
mod trouble;
mod xml;

pub use call::{Call, Lost, Reply, Upstream, percent_decode};
pub use clock::Clock;
pub use fake::{Fake, FakeGroup};
pub use faults::{Entry, Faults, Truth, Victim};
pub use group::Supply;
pub use trouble::{Rule, Trouble};
