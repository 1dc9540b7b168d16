//! A certificate authority of the test bed's own, and what it signs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

/// Paths of the PEM files.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    pub(crate) authority: PathBuf,
    pub(crate) authority_key: PathBuf,
    pub(crate) server: PathBuf,
    pub(crate) server_key: PathBuf,
    pub(crate) service_account_key: PathBuf,
    pub(crate) service_account_public_key: PathBuf,
}

impl Certificates {
    /// Makes them all in `directory`.
    pub(crate) fn make(directory: &Path) -> Result<Self> {
        let paths = Self {
            authority: directory.join("ca.crt"),
            authority_key: directory.join("ca.key"),
            server: directory.join("server.crt"),
            server_key: directory.join("server.key"),
            service_account_key: directory.join("service-account.key"),
            service_account_public_key: directory.join("service-account.pub"),
        };
        let authority_key = KeyPair::generate().context("generate the authority's key")?;
        let mut authority = CertificateParams::default();
        authority.distinguished_name = name("windlass-testbed");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let authority_certificate = authority
            .self_signed(&authority_key)
            .context("sign the authority")?;

        let server_key = KeyPair::generate().context("generate the server's key")?;
        let mut server = CertificateParams::new(vec![
            "127.0.0.1".to_owned(),
            "10.96.0.1".to_owned(),
            "localhost".to_owned(),
            "kubernetes".to_owned(),
            "kubernetes.default".to_owned(),
            "kubernetes.default.svc".to_owned(),
        ])
        .context("name the server")?;
        server.distinguished_name = name("kube-apiserver");
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let issuer = Issuer::from_params(&authority, &authority_key);
        let server_certificate = server
            .signed_by(&server_key, &issuer)
            .context("sign the server")?;
        let service_account_key = KeyPair::generate().context("generate a signing key")?;

        for (path, pem) in [
            (&paths.authority, authority_certificate.pem()),
            (&paths.authority_key, authority_key.serialize_pem()),
            (&paths.server, server_certificate.pem()),
            (&paths.server_key, server_key.serialize_pem()),
            (
                &paths.service_account_key,
                service_account_key.serialize_pem(),
            ),
            (
                &paths.service_account_public_key,
                service_account_key.public_key_pem(),
            ),
        ] {
            fs::write(path, pem).with_context(|| format!("write `{}`", path.display()))?;
        }
        Ok(paths)
    }
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}
