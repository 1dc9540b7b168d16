//! Whether the instance is a node already: a reboot must change nothing.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use windlass_provision::join::{Identity, KubeletKubeconfig, Material, common_name};
use windlass_provision::pin;

use super::Context;
use super::files::Paths;

/// Whether there is a client certificate for this node, by the cluster's CA, that is not expired.
/// Why not is said where there is a kubeconfig at all.
pub(super) fn is_joined(context: &Context<'_>, identity: &Identity) -> bool {
    let path = context.paths.kubelet_kubeconfig();
    if !path.exists() {
        return false;
    }
    match check(context, identity, &path) {
        Ok(()) => true,
        Err(problem) => {
            let path = path.display();
            context
                .report
                .say(&format!("{path} is there, but {problem}: joining again"));
            false
        }
    }
}

fn check(context: &Context<'_>, identity: &Identity, path: &Path) -> Result<(), String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot be read ({error})"))?;
    let kubeconfig = KubeletKubeconfig::from_yaml(&text).map_err(|problem| problem.to_string())?;
    let authority = content(context.paths, kubeconfig.authority)?;
    let certificate = content(context.paths, kubeconfig.certificate)?;
    if !context.config.ca_pins.is_empty() {
        pin::verify_bundle(&authority, &context.config.ca_pins)
            .map_err(|_| "its CA is not the pinned one".to_owned())?;
    }
    verify(&authority, &certificate, identity)
}

fn content(paths: &Paths, material: Material) -> Result<Vec<u8>, String> {
    match material {
        Material::Inline(pem) => Ok(pem),
        Material::File(file) => {
            let file = file.to_str().map(|file| paths.at(file)).unwrap_or(file);
            std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))
        }
    }
}

fn verify(authority: &[u8], certificate: &[u8], identity: &Identity) -> Result<(), String> {
    let unreadable = |_| "its certificates cannot be read".to_owned();
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authority) {
        roots
            .add(root.map_err(unreadable)?)
            .map_err(|_| "its CA cannot be used".to_owned())?;
    }
    let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    let (leaf, intermediates) = chain.split_first().ok_or("it has no client certificate")?;
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .map_err(|error| format!("its CA cannot be used ({error})"))?;
    verifier
        .verify_client_cert(leaf, intermediates, UnixTime::now())
        .map_err(|error| format!("its client certificate is not good ({error})"))?;
    if common_name(leaf) == Some(format!("system:node:{}", identity.node_name)) {
        Ok(())
    } else {
        Err(format!(
            "its client certificate is not that of {}",
            identity.node_name
        ))
    }
}
