use std::collections::BTreeMap;
use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use tracing::warn;
use windlass_core::{ExpanderAnswer, ExpanderQuestion, OfferedOption};

use crate::objects;
use crate::protocol::{BEST_OPTIONS, BestOptionsRequest, BestOptionsResponse, ExpansionOption};

/// How long the server may take. Source: `pkg/expander/grpcplugin/grpc_client.go`.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer, in bytes; the same source.
const LARGEST_ANSWER: usize = 128 << 20;

/// A server that says which groups should grow. Clones share one connection.
#[derive(Clone, Debug)]
pub struct GrpcExpander {
    channel: Channel,
    timeout: Duration,
}

/// Why no server can be asked, whatever it answers.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The address is none.
    #[error("`{address}` is not the address of a server: expected HOST:PORT")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        #[source]
        source: tonic::transport::Error,
    },
    /// There is no certificate in the file.
    #[error("there is no PEM certificate in it")]
    NoCertificate,
    /// The certificate cannot be used.
    #[error("cannot trust this certificate")]
    Certificate(#[source] tonic::transport::Error),
}

impl GrpcExpander {
    /// A server at `address` (`HOST:PORT`), trusted if `certificates` (PEM) vouch for it. The
    /// connection is made with the first question, and again after it broke.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn new(address: &str, certificates: &[u8]) -> Result<Self, SetUpError> {
        const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
        if !certificates.windows(BEGIN.len()).any(|part| part == BEGIN) {
            return Err(SetUpError::NoCertificate);
        }
        // gRPC's resolvers may be named before the address.
        let host = address
            .trim_start_matches("dns:")
            .trim_start_matches("passthrough:")
            .trim_start_matches('/');
        let endpoint = Endpoint::from_shared(format!("https://{host}")).map_err(|source| {
            SetUpError::Address {
                address: address.to_owned(),
                source,
            }
        })?;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certificates));
        let endpoint = endpoint
            .connect_timeout(TIMEOUT)
            .tls_config(tls)
            .map_err(SetUpError::Certificate)?;
        Ok(Self {
            channel: endpoint.connect_lazy(),
            timeout: TIMEOUT,
        })
    }

    /// The same with another patience.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Asks the server. What goes wrong is logged, and keeps all options.
    pub async fn ask(&self, question: &ExpanderQuestion) -> ExpanderAnswer {
        let answer = tokio::time::timeout(self.timeout, self.call(request(question))).await;
        match answer {
            Ok(Ok(response)) => {
                let kept = response.options.into_iter();
                ExpanderAnswer::Keep(kept.map(|option| option.node_group_id.into()).collect())
            }
            Ok(Err(status)) => {
                warn!(
                    code = ?status.code(),
                    message = status.message(),
                    "the gRPC expander failed: all options are kept"
                );
                ExpanderAnswer::Unavailable
            }
            Err(_) => {
                warn!(
                    timeout = ?self.timeout,
                    "the gRPC expander did not answer in time: all options are kept"
                );
                ExpanderAnswer::Unavailable
            }
        }
    }

    async fn call(&self, request: BestOptionsRequest) -> Result<BestOptionsResponse, Status> {
        let mut client = tonic::client::Grpc::new(self.channel.clone())
            .max_decoding_message_size(LARGEST_ANSWER);
        client
            .ready()
            .await
            .map_err(|error| Status::unavailable(chain(&error)))?;
        let path = http::uri::PathAndQuery::from_static(BEST_OPTIONS);
        let codec = ProstCodec::<BestOptionsRequest, BestOptionsResponse>::default();
        let response = client.unary(Request::new(request), path, codec).await?;
        Ok(response.into_inner())
    }
}

/// An error with its causes, which tonic hides behind "transport error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn request(question: &ExpanderQuestion) -> BestOptionsRequest {
    let nodes = question.templates.iter();
    let nodes: BTreeMap<String, Vec<u8>> = nodes
        .map(|(group, node)| (group.to_string(), objects::node_bytes(node)))
        .collect();
    BestOptionsRequest {
        options: question.options.iter().map(offer).collect(),
        node_bytes_map: nodes,
    }
}

fn offer(option: &OfferedOption) -> ExpansionOption {
    let OfferedOption {
        group,
        node_count,
        pods,
    } = option;
    ExpansionOption {
        node_group_id: group.to_string(),
        node_count: i32::try_from(*node_count).unwrap_or(i32::MAX),
        debug: String::new(),
        pod_bytes: pods.iter().map(|pod| objects::pod_bytes(pod)).collect(),
    }
}
