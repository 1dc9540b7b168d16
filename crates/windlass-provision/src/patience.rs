//! Calls that AWS refuses for a while and then takes.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_aws_client::CallError;

/// Calls again and again while the error is one that passes, for so long at most.
///
/// # Errors
///
/// One that does not pass, or the last one.
pub(crate) async fn until_taken<T, F>(
    patience: Duration,
    pause: Duration,
    passes: impl Fn(&CallError) -> bool,
    call: impl Fn() -> F,
) -> Result<T, CallError>
where
    F: Future<Output = Result<T, CallError>>,
{
    let begun = Instant::now();
    loop {
        match call().await {
            Err(error) if passes(&error) && begun.elapsed() < patience => sleep(pause).await,
            result => return result,
        }
    }
}
