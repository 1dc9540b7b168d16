//! The provider over HTTP against Auto Scaling as it goes wrong: every call is signed, encoded and
//! decoded as in production, and a layer of faults before a fake in the process answers it. Time
//! is the runtime's, which stands still while anything is to be done: an hour takes seconds.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checklist;
mod cloud;
mod foreign;
mod histories;
mod measures;
mod shortages;
mod spending;
mod templates;
mod world;
