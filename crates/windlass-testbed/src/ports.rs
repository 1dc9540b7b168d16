//! Free ports on the loopback address.

use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

/// Below the range from which the kernel takes the local ports of outgoing connections, so that
/// the port of a part that is down stays free until it comes back.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Where the next search begins, relative to this process's own starting point.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that nobody listens on and that this process was not given before.
pub(crate) fn free_port() -> Result<u16> {
    let spread = u16::try_from(process::id() % u32::from(COUNT / 64))? * 64;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (spread + step) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!(
        "no port from {FIRST} to {} is free on 127.0.0.1",
        FIRST + COUNT - 1
    )
}
