//! The runtime of commands that run by themselves: one thread is enough for what waits most of its time.

use anyhow::Context as _;

/// Runs a command to its end.
pub(crate) fn block_on<T>(command: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    Ok(runtime.block_on(command))
}
