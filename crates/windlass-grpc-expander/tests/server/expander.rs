//! A server of the protocol with TLS, which answers what a test tells it to.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use windlass_grpc_expander::{
    BEST_OPTIONS, BestOptionsRequest, BestOptionsResponse, ExpansionOption,
};

type Answer = dyn Fn(&BestOptionsRequest) -> Result<Vec<String>, Status> + Send + Sync;

/// What the server does, and what it was asked.
#[derive(Clone)]
struct Expander {
    answer: Arc<Answer>,
    delay: Duration,
    asked: Arc<Mutex<Vec<BestOptionsRequest>>>,
}

/// A server under way; it ends with the test's runtime.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// The certificate of the authority that vouches for it, as PEM.
    pub(crate) authority: String,
    asked: Arc<Mutex<Vec<BestOptionsRequest>>>,
}

impl Running {
    pub(crate) fn asked(&self) -> Vec<BestOptionsRequest> {
        self.asked.lock().unwrap().clone()
    }

    /// Host and port, by the name on the certificate.
    pub(crate) fn name(&self) -> String {
        format!("localhost:{}", self.address.port())
    }
}

/// Starts a server whose answers are the groups that `answer` names, `delay` late.
pub(crate) fn start(
    delay: Duration,
    answer: impl Fn(&BestOptionsRequest) -> Result<Vec<String>, Status> + Send + Sync + 'static,
) -> Running {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (authority, identity) = certificates();
    let expander = Expander {
        answer: Arc::new(answer),
        delay,
        asked: Arc::default(),
    };
    let asked = Arc::clone(&expander.asked);
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let serving = Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))
        .unwrap()
        .add_service(expander)
        .serve_with_incoming(incoming);
    tokio::spawn(serving);
    Running {
        address,
        authority,
        asked,
    }
}

/// An authority's certificate, and a server's with its key.
fn certificates() -> (String, Identity) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let certificate = authority.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let issuer = Issuer::from_params(&authority, &authority_key);
    let signed = server.signed_by(&key, &issuer).unwrap();
    let identity = Identity::from_pem(signed.pem(), key.serialize_pem());
    (certificate.pem(), identity)
}

impl NamedService for Expander {
    const NAME: &'static str = windlass_grpc_expander::SERVICE;
}

type Reply<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// What a code generator would write for the one method.
impl tonic::codegen::Service<http::Request<Body>> for Expander {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Reply<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        assert_eq!(request.uri().path(), BEST_OPTIONS);
        let method = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::<BestOptionsResponse, BestOptionsRequest>::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(usize::MAX);
            Ok(grpc.unary(method, request).await)
        })
    }
}

impl UnaryService<BestOptionsRequest> for Expander {
    type Response = BestOptionsResponse;
    type Future = Reply<Response<BestOptionsResponse>, Status>;

    fn call(&mut self, request: Request<BestOptionsRequest>) -> Self::Future {
        let Self {
            answer,
            delay,
            asked,
        } = self.clone();
        Box::pin(async move {
            let request = request.into_inner();
            let groups = answer(&request);
            asked.lock().unwrap().push(request);
            tokio::time::sleep(delay).await;
            let options = groups?.into_iter().map(|group| ExpansionOption {
                node_group_id: group,
                ..ExpansionOption::default()
            });
            Ok(Response::new(BestOptionsResponse {
                options: options.collect(),
            }))
        })
    }
}
