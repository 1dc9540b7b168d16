use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};

use windlass_model::SchedulerVersion;

use crate::api::{Api, ApiError};
use crate::limiter::Limiter;

/// How long a TCP and TLS handshake may take. Shorter than the renew deadline of the lease, so
/// that a dead address costs one attempt.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the API server is: `--kubeconfig`, `--kubernetes`, or the pod's own service account.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// Path of a kubeconfig; its current context is used and `kubernetes` is not.
    pub kubeconfig: Option<String>,
    /// URL of the API server, with the old query options `inClusterConfig`, `auth` and
    /// `useServiceAccount`.
    pub kubernetes: Option<String>,
    /// Calls per second that are not urgent.
    pub queries_per_second: f64,
    /// How many of those may go at once.
    pub burst: i64,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("cannot use the kubeconfig `{path}`")]
    Kubeconfig {
        /// Its path.
        path: String,
        #[source]
        /// Why.
        source: Box<kube::config::KubeconfigError>,
    },
    /// There is no service account, so this is not a pod.
    #[error("not in a cluster and without --kubeconfig")]
    InCluster(#[source] Box<kube::config::InClusterError>),
    /// `--kubernetes` cannot be used.
    #[error("cannot use --kubernetes={url}: {problem}")]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The client cannot be built: bad certificates, an unsupported way to authenticate.
    #[error("cannot set up the client of the API server")]
    Client(#[source] Box<kube::Error>),
}

/// A client of the API server. Nothing is sent yet.
///
/// # Errors
///
/// Where the configuration cannot be read.
pub async fn connect(options: &ConnectOptions) -> Result<Api, ConnectError> {
    Ok(Endpoint::find(options).await?.api)
}

/// An API server, and what it takes to reach it as somebody else.
#[derive(Clone)]
pub struct Endpoint {
    /// As who the options say.
    pub api: Api,
    config: kube::Config,
    options: ConnectOptions,
}

impl Endpoint {
    /// Reads where the API server is. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Where the configuration cannot be read.
    pub async fn find(options: &ConnectOptions) -> Result<Self, ConnectError> {
        let config = configuration(options).await?;
        Ok(Self {
            api: api(config.clone(), options)?,
            config,
            options: options.clone(),
        })
    }

    /// An API server at `https://{endpoint}` that is known by its CA bundle (PEM) alone; nobody
    /// logs in.
    ///
    /// # Errors
    ///
    /// Where the endpoint is no host and port, or the bundle has no certificate.
    pub fn pinned(endpoint: &str, certificate_authority: &[Vec<u8>]) -> Result<Self, ConnectError> {
        let url = format!("https://{endpoint}");
        let uri = url
            .parse()
            .map_err(|error: http::uri::InvalidUri| ConnectError::Url {
                url: url.clone(),
                problem: error.to_string(),
            })?;
        let mut config = kube::Config::new(uri);
        config.root_cert = Some(certificate_authority.to_vec());
        config.connect_timeout = Some(HANDSHAKE_TIMEOUT);
        config.default_retry = false;
        let options = ConnectOptions {
            queries_per_second: 5.0,
            burst: 10,
            ..ConnectOptions::default()
        };
        Ok(Self {
            api: api(config.clone(), &options)?,
            config,
            options,
        })
    }

    /// The certificates (DER) that the server is verified with; none where those of the system
    /// are.
    pub fn certificate_authority(&self) -> Option<&[Vec<u8>]> {
        self.config.root_cert.as_deref()
    }

    /// The server's URL.
    pub fn url(&self) -> String {
        self.config.cluster_url.to_string()
    }

    /// The same server, logged in to with a bearer token and nothing else.
    ///
    /// # Errors
    ///
    /// Where no client can be built.
    pub fn with_bearer_token(&self, token: &str) -> Result<Api, ConnectError> {
        let mut config = self.config.clone();
        config.auth_info = kube::config::AuthInfo {
            token: Some(token.to_owned().into()),
            ..kube::config::AuthInfo::default()
        };
        api(config, &self.options)
    }
}

fn api(config: kube::Config, options: &ConnectOptions) -> Result<Api, ConnectError> {
    let client =
        kube::Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))?;
    let limiter = Limiter::new(options.queries_per_second, options.burst);
    Ok(Api::new(client, limiter))
}

async fn configuration(options: &ConnectOptions) -> Result<kube::Config, ConnectError> {
    let mut config = match (&options.kubeconfig, &options.kubernetes) {
        (Some(path), _) => from_kubeconfig(path).await?,
        (None, Some(url)) => from_url(url).await?,
        (None, None) => in_cluster()?,
    };
    config.connect_timeout = Some(HANDSHAKE_TIMEOUT);
    // A 429 of the Eviction API is an answer, not a fault.
    config.default_retry = false;
    Ok(config)
}

/// Whose scheduler decides: that of the API server's own version, as far as can be told.
///
/// # Errors
///
/// When the server cannot be asked.
pub async fn scheduler_version(api: &Api) -> Result<SchedulerVersion, ApiError> {
    #[derive(serde::Deserialize)]
    struct Version {
        minor: String,
    }
    let Version { minor } = api.get("/version").await?;
    // Some distributions write `36+`.
    let minor = minor
        .trim_end_matches(|c: char| !c.is_ascii_digit())
        .parse::<u32>();
    Ok(match minor {
        Ok(minor) if minor < 37 => SchedulerVersion::V1_36,
        _ => SchedulerVersion::V1_37,
    })
}

fn in_cluster() -> Result<kube::Config, ConnectError> {
    kube::Config::incluster().map_err(|error| ConnectError::InCluster(Box::new(error)))
}

async fn from_kubeconfig(path: &str) -> Result<kube::Config, ConnectError> {
    let failed = |source| ConnectError::Kubeconfig {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
    kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(failed)
}

/// The query options of `--kubernetes`.
#[derive(Debug, PartialEq, Eq)]
struct UrlOptions<'a> {
    /// The URL without them; empty when only options were given.
    address: &'a str,
    in_cluster: bool,
    auth: Option<&'a str>,
}

fn url_options(url: &str) -> Result<UrlOptions<'_>, String> {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let mut options = UrlOptions {
        address,
        in_cluster: true,
        auth: None,
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "inClusterConfig" => {
                options.in_cluster = value
                    .parse()
                    .map_err(|_| format!("inClusterConfig is `{value}`, not true or false"))?;
            }
            "auth" if !value.is_empty() => options.auth = Some(value),
            "auth" => {}
            // The in-cluster configuration is the service account's.
            "useServiceAccount" => {
                if value == "true" {
                    options.in_cluster = true;
                }
            }
            other => return Err(format!("unknown option `{other}`")),
        }
    }
    Ok(options)
}

async fn from_url(url: &str) -> Result<kube::Config, ConnectError> {
    let failed = |problem: String| ConnectError::Url {
        url: url.to_owned(),
        problem,
    };
    let options = url_options(url).map_err(failed)?;
    let address = (!options.address.is_empty())
        .then(|| options.address.parse::<http::Uri>())
        .transpose()
        .map_err(|error| failed(error.to_string()))?;
    let mut config = match (options.auth, options.in_cluster, &address) {
        (Some(path), _, _) => from_kubeconfig(path).await?,
        (None, true, _) => in_cluster()?,
        (None, false, Some(address)) => kube::Config::new(address.clone()),
        (None, false, None) => return Err(failed("it names no server".to_owned())),
    };
    if let Some(address) = address {
        config.cluster_url = address;
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_query_options_are_understood() {
        let options =
            url_options("https://10.0.0.1:6443?inClusterConfig=false&auth=/etc/k").unwrap();
        assert_eq!(
            options,
            UrlOptions {
                address: "https://10.0.0.1:6443",
                in_cluster: false,
                auth: Some("/etc/k"),
            }
        );
        assert!(url_options("https://a").unwrap().in_cluster);
        assert!(url_options("?inClusterConfig=perhaps").is_err());
        assert!(url_options("https://a?insecure=true").is_err());
    }
}
