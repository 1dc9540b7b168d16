//! How often whoever started the program has asked it to end.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Counts Ctrl-C and SIGTERM, which is what CI sends.
#[derive(Clone, Debug)]
pub(crate) struct Interrupts(watch::Receiver<u32>);

impl Interrupts {
    /// From now on neither signal ends the program by itself.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let (count, seen) = watch::channel(0);
        // It lives as long as the runtime, which the command's end ends.
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                count.send_modify(|count| *count += 1);
            }
        });
        Ok(Self(seen))
    }

    /// How many there have been.
    pub(crate) fn count(&self) -> u32 {
        *self.0.borrow()
    }

    /// Waits until there have been so many.
    pub(crate) async fn reach(&self, count: u32) {
        let mut seen = self.0.clone();
        if seen.wait_for(|seen| count <= *seen).await.is_err() {
            // Nobody listens any more: there will be none.
            std::future::pending::<()>().await;
        }
    }
}
