//! The credentials in use, kept until shortly before they expire.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tokio::sync::Mutex;

/// How long before their end credentials are exchanged.
const BEFORE_EXPIRY: Duration = Duration::from_mins(5);
/// How long credentials that name no end (environment, profile) are kept: a file that somebody
/// rotates is seen after that.
const WITHOUT_EXPIRY: Duration = Duration::from_mins(5);

/// Asks the chain of providers, and remembers its answer.
#[derive(Debug)]
pub(crate) struct CredentialsCache {
    provider: SharedCredentialsProvider,
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    credentials: Credentials,
    until: SystemTime,
}

impl CredentialsCache {
    pub(crate) fn new(provider: SharedCredentialsProvider) -> Self {
        Self {
            provider,
            kept: Mutex::new(None),
        }
    }

    /// The current credentials. One task asks the chain, the others wait for its answer: it holds
    /// the lock meanwhile, on purpose.
    pub(crate) async fn current(
        &self,
    ) -> Result<Credentials, aws_credential_types::provider::error::CredentialsError> {
        let mut kept = self.kept.lock().await;
        let now = SystemTime::now();
        if let Some(kept) = kept.as_ref()
            && now < kept.until
        {
            return Ok(kept.credentials.clone());
        }
        match self.provider.provide_credentials().await {
            Ok(credentials) => {
                let until = credentials.expiry().map_or(now + WITHOUT_EXPIRY, |expiry| {
                    expiry.checked_sub(BEFORE_EXPIRY).unwrap_or(now)
                });
                *kept = Some(Kept {
                    credentials: credentials.clone(),
                    until,
                });
                Ok(credentials)
            }
            // The provider is down, but what we hold is good for some minutes more.
            Err(error) => match kept.as_ref() {
                Some(kept) if kept.credentials.expiry().is_none_or(|expiry| now < expiry) => {
                    Ok(kept.credentials.clone())
                }
                _ => Err(error),
            },
        }
    }

    /// Drops the credentials that AWS no longer takes.
    pub(crate) async fn forget(&self) {
        *self.kept.lock().await = None;
    }
}
