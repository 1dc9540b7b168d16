use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

/// Where a kubeconfig has its certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// In itself, in PEM.
    Inline(Vec<u8>),
    /// In a file.
    File(PathBuf),
}

/// The certificates of a kubelet's kubeconfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeletKubeconfig {
    /// The cluster's CA bundle.
    pub authority: Material,
    /// The kubelet's client certificate.
    pub certificate: Material,
}

/// Why a kubeconfig is no kubelet's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubeconfigProblem {
    /// It cannot be read.
    #[error("it is no kubeconfig")]
    Form,
    /// Another number of clusters or users.
    #[error("it does not have exactly one cluster and one user")]
    Count,
    /// Nothing there.
    #[error("it names no {0}")]
    Missing(&'static str),
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    certificate_authority_data: Option<String>,
    certificate_authority: Option<PathBuf>,
}

#[derive(Deserialize)]
struct NamedUser {
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate_data: Option<String>,
    client_certificate: Option<PathBuf>,
}

impl KubeletKubeconfig {
    /// Reads a kubeconfig's text.
    ///
    /// # Errors
    ///
    /// When it is none, or does not name one CA and one client certificate.
    pub fn from_yaml(text: &str) -> Result<Self, KubeconfigProblem> {
        let wire: Wire = serde_saphyr::from_str(text).map_err(|_| KubeconfigProblem::Form)?;
        let ([NamedCluster { cluster }], [NamedUser { user }]) =
            (wire.clusters.as_slice(), wire.users.as_slice())
        else {
            return Err(KubeconfigProblem::Count);
        };
        Ok(Self {
            authority: material(
                "certificate authority",
                cluster.certificate_authority_data.as_ref(),
                cluster.certificate_authority.as_ref(),
            )?,
            certificate: material(
                "client certificate",
                user.client_certificate_data.as_ref(),
                user.client_certificate.as_ref(),
            )?,
        })
    }
}

fn material(
    what: &'static str,
    inline: Option<&String>,
    file: Option<&PathBuf>,
) -> Result<Material, KubeconfigProblem> {
    match (inline, file) {
        (Some(inline), _) => BASE64_STANDARD
            .decode(inline)
            .map(Material::Inline)
            .map_err(|_| KubeconfigProblem::Form),
        (None, Some(file)) => Ok(Material::File(file.clone())),
        (None, None) => Err(KubeconfigProblem::Missing(what)),
    }
}

/// The one common name of a certificate in DER; none where there is none, or several.
pub fn common_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let mut names = certificate.subject().iter_common_name();
    let (name, None) = (names.next()?, names.next()) else {
        return None;
    };
    name.as_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubelets_kubeconfig_names_its_certificates() {
        let text = "clusters: [{name: a, cluster: {certificate-authority-data: UEVN}}]\n\
                    users: [{name: b, user: {client-certificate: /var/lib/kubelet/pki/c.pem}}]\n";
        assert_eq!(
            KubeletKubeconfig::from_yaml(text),
            Ok(KubeletKubeconfig {
                authority: Material::Inline(b"PEM".to_vec()),
                certificate: Material::File("/var/lib/kubelet/pki/c.pem".into()),
            })
        );
        let refused = |text: &str| KubeletKubeconfig::from_yaml(text).unwrap_err();
        assert_eq!(refused("{"), KubeconfigProblem::Form);
        assert_eq!(refused("clusters: []"), KubeconfigProblem::Count);
        assert_eq!(
            refused("{clusters: [{cluster: {}}], users: [{user: {}}]}"),
            KubeconfigProblem::Missing("certificate authority")
        );
    }

    #[test]
    fn the_common_name_of_a_certificate_is_read() {
        let pem = crate::pin::certificates(include_bytes!("../pin/ca.crt")).unwrap();
        assert!(common_name(&pem[0]).is_some());
        assert_eq!(common_name(b"x"), None);
    }
}
