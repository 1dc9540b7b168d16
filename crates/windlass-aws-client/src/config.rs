//! How a client comes by its region, credentials and endpoints.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::meta::region::RegionProviderChain;
use aws_config::retry::RetryConfig;
use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::service_config::ServiceConfigKey;

use crate::call::{Observer, Settings};
use crate::endpoint::{Endpoint, EndpointOverride, Service, Variant};
use crate::secret::Secret;

/// Calls a minute that all callers together may make, unless told otherwise. A cluster of a
/// hundred groups at rest needs four.
const CALLS_PER_MINUTE: u32 = 600;
/// Attempts in all, as the SDKs' standard mode makes them.
const MAX_ATTEMPTS: u32 = 3;

/// What a [`Client`](crate::Client) is made with. What is left out comes from the SDKs' ordinary
/// chain: environment, profile, web identity, container, instance metadata.
#[derive(Clone)]
pub struct Options {
    /// Region, if the operator names one; comes before the chain.
    pub region: Option<String>,
    /// Region to use where the environment has none, before the profile and instance metadata are
    /// asked: the cloud configuration's.
    pub fallback_region: Option<String>,
    /// Endpoints for single services. They come before `AWS_ENDPOINT_URL` and its kind.
    pub endpoint_overrides: Vec<EndpointOverride>,
    /// Calls a minute, all callers and retries together.
    pub calls_per_minute: u32,
    /// Time for connecting.
    pub connect_timeout: Duration,
    /// Time for one attempt.
    pub attempt_timeout: Duration,
    /// Time for all attempts of one call and the pauses between them.
    pub total_timeout: Duration,
    /// Product and version for the `User-Agent`.
    pub user_agent: String,
    /// Is told of every operation and attempt.
    pub observer: Option<Arc<dyn Observer>>,
    /// Credentials to use instead of what the chain would find.
    pub credentials: Option<StaticCredentials>,
    /// What carries requests instead of a connection to AWS: tests put a fake here.
    pub transport: Option<SharedHttpConnector>,
}

/// Credentials that do not change.
#[derive(Clone, Debug)]
pub struct StaticCredentials {
    /// Id of the access key.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: Secret,
    /// Token of a session, with temporary keys.
    pub session_token: Option<Secret>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            region: None,
            fallback_region: None,
            endpoint_overrides: Vec::new(),
            calls_per_minute: CALLS_PER_MINUTE,
            connect_timeout: Duration::from_secs(3),
            attempt_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(30),
            user_agent: concat!("windlass/", env!("CARGO_PKG_VERSION")).to_owned(),
            observer: None,
            credentials: None,
            transport: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("region", &self.region)
            .field("fallback_region", &self.fallback_region)
            .field("endpoint_overrides", &self.endpoint_overrides)
            .field("calls_per_minute", &self.calls_per_minute)
            .finish_non_exhaustive()
    }
}

/// Why there is no client.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// No region anywhere.
    #[error(
        "no AWS region: set AWS_REGION or AWS_DEFAULT_REGION, or Region or Zone in the file of \
         --cloud-config, or a region in the AWS profile; instance metadata gave none either"
    )]
    NoRegion,
    /// The chain has no provider of credentials.
    #[error("no provider of AWS credentials is configured")]
    NoCredentials,
    /// `AWS_MAX_ATTEMPTS` or the profile's `max_attempts` is no number above zero.
    #[error("AWS_MAX_ATTEMPTS: `{value}` is not an integer above 0")]
    MaxAttempts {
        /// What it says.
        value: String,
    },
    /// `AWS_RETRY_MODE` or the profile's `retry_mode` is unknown.
    #[error("AWS_RETRY_MODE: `{value}` is none of legacy, standard, adaptive")]
    RetryMode {
        /// What it says.
        value: String,
    },
    /// An endpoint that is no URL.
    #[error("endpoint of {service}: `{url}` does not begin with http:// or https://", service = .service.name())]
    Endpoint {
        /// The service.
        service: Service,
        /// What it says.
        url: String,
    },
}

/// Asks the chain once and makes the client's settings of it.
pub(crate) async fn load(options: Options) -> Result<Settings, ConnectError> {
    let config = load_sdk(&options).await;
    let region = config
        .region()
        .map(ToString::to_string)
        .filter(|region| !region.is_empty())
        .ok_or(ConnectError::NoRegion)?;
    let credentials = config
        .credentials_provider()
        .ok_or(ConnectError::NoCredentials)?;
    check_retry_mode(&config)?;
    Ok(Settings {
        max_attempts: max_attempts(&config)?,
        endpoints: endpoints(&config, &region, &options)?,
        region,
        credentials,
        calls_per_minute: options.calls_per_minute,
        connect_timeout: options.connect_timeout,
        attempt_timeout: options.attempt_timeout,
        total_timeout: options.total_timeout,
        user_agent: options.user_agent,
        observer: options.observer,
    })
}

async fn load_sdk(options: &Options) -> SdkConfig {
    let region = RegionProviderChain::first_try(options.region.clone().map(Region::new))
        .or_else(aws_config::environment::EnvironmentVariableRegionProvider::new())
        .or_else(options.fallback_region.clone().map(Region::new))
        .or_else(aws_config::profile::ProfileFileRegionProvider::new())
        .or_else(aws_config::imds::region::ImdsRegionProvider::builder().build());
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(given) = &options.credentials {
        loader = loader.credentials_provider(Credentials::new(
            given.access_key_id.clone(),
            given.secret_access_key.expose(),
            given
                .session_token
                .as_ref()
                .map(|token| token.expose().to_owned()),
            None,
            "given",
        ));
    }
    loader
        .region(region)
        // The retries are ours; with this the loader does not read AWS_MAX_ATTEMPTS itself,
        // where a bad value would be a panic.
        .retry_config(RetryConfig::standard())
        .load()
        .await
}

fn setting(config: &SdkConfig, service: &str, env: &str, profile: &str) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id(service)
        .env(env)
        .profile(profile)
        .build()
        .ok()?;
    config.service_config()?.load_config(key)
}

fn max_attempts(config: &SdkConfig) -> Result<u32, ConnectError> {
    match setting(config, "", "AWS_MAX_ATTEMPTS", "max_attempts") {
        None => Ok(MAX_ATTEMPTS),
        Some(value) => match value.trim().parse() {
            Ok(0) | Err(_) => Err(ConnectError::MaxAttempts { value }),
            Ok(attempts) => Ok(attempts),
        },
    }
}

fn check_retry_mode(config: &SdkConfig) -> Result<(), ConnectError> {
    match setting(config, "", "AWS_RETRY_MODE", "retry_mode") {
        None => Ok(()),
        Some(value)
            if ["legacy", "standard", "adaptive"]
                .contains(&value.trim().to_ascii_lowercase().as_str()) =>
        {
            Ok(())
        }
        Some(value) => Err(ConnectError::RetryMode { value }),
    }
}

fn endpoints(
    config: &SdkConfig,
    region: &str,
    options: &Options,
) -> Result<BTreeMap<Service, (Endpoint, String)>, ConnectError> {
    let variant = Variant {
        fips: config.use_fips().unwrap_or(false),
        dual_stack: config.use_dual_stack().unwrap_or(false),
    };
    Service::ALL
        .into_iter()
        .map(|service| {
            let own = service.endpoint(region, variant);
            let given = options.endpoint_overrides.iter().find(|given| {
                given.service == service
                    && given.region.as_deref().is_none_or(|given| given == region)
            });
            let (endpoint, signing_name) = if let Some(given) = given {
                let endpoint = Endpoint {
                    url: given.url.clone(),
                    signing_region: given.signing_region.clone(),
                };
                (endpoint, given.signing_name.clone())
            } else {
                let url = setting(config, service.id(), "AWS_ENDPOINT_URL", "endpoint_url");
                let url = url.unwrap_or_else(|| own.url.clone());
                (Endpoint { url, ..own }, None)
            };
            let url = endpoint.url.trim_end_matches('/').to_owned();
            if !url.starts_with("https://") && !url.starts_with("http://") {
                return Err(ConnectError::Endpoint { service, url });
            }
            let signing_name = signing_name.unwrap_or_else(|| service.name().to_owned());
            Ok((service, (Endpoint { url, ..endpoint }, signing_name)))
        })
        .collect()
}
