//! The instance metadata service: what an instance is told of itself. Version 2 only.

use std::error::Error;
use std::time::Duration;

use aws_config::imds::Client;

/// Attempts of one request: a service that was just started may not answer yet.
const ATTEMPTS: u32 = 10;

/// The metadata service. The session token is fetched with the first request and whenever it has
/// lapsed; version 1 is never fallen back to. `AWS_EC2_METADATA_SERVICE_ENDPOINT` names another
/// one.
#[derive(Clone, Debug)]
pub struct InstanceMetadata {
    client: Client,
}

/// A path that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{path}` from the instance metadata service")]
pub struct MetadataError {
    /// The path.
    pub path: String,
    /// The client's error.
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl InstanceMetadata {
    /// A client; nothing is sent yet.
    pub fn new() -> Self {
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(1))
            .read_timeout(Duration::from_secs(2))
            .max_attempts(ATTEMPTS)
            .build();
        Self { client }
    }

    /// What is at `path`, such as `placement/region`; none where there is nothing.
    pub async fn get(&self, path: &str) -> Result<Option<String>, MetadataError> {
        match self.client.get(format!("/latest/meta-data/{path}")).await {
            Ok(text) => Ok(Some(text.as_ref().to_owned())),
            Err(aws_config::imds::client::error::ImdsError::ErrorResponse(answer))
                if answer.response().status().as_u16() == 404 =>
            {
                Ok(None)
            }
            Err(source) => Err(MetadataError {
                path: path.to_owned(),
                source: source.into(),
            }),
        }
    }
}

impl Default for InstanceMetadata {
    fn default() -> Self {
        Self::new()
    }
}
