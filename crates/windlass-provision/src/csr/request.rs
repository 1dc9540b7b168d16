use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

/// A signer whose requests are judged here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignerName {
    /// `kubernetes.io/kube-apiserver-client-kubelet`: a node's identity.
    KubeletClient,
    /// `kubernetes.io/kubelet-serving`: the certificate of a kubelet's own server.
    KubeletServing,
}

impl SignerName {
    /// The signer's name in the API; none for all others.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::KubeletClient, Self::KubeletServing]
            .into_iter()
            .find(|signer| signer.name() == name)
    }

    /// The signer's name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::KubeletClient => "kubernetes.io/kube-apiserver-client-kubelet",
            Self::KubeletServing => "kubernetes.io/kubelet-serving",
        }
    }
}

/// Who asks, as the API server found it: nobody can write these fields of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requester {
    /// User name.
    pub user: String,
    /// Groups.
    pub groups: Vec<String>,
}

/// A `CertificateSigningRequest` with what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// Name of the object.
    pub name: String,
    /// UID of the object.
    pub uid: String,
    /// When it was made, by the API server's clock.
    pub created: Timestamp,
    /// Whose signature is asked for.
    pub signer: SignerName,
    /// Who asks.
    pub requester: Requester,
    /// Usages, as written.
    pub usages: Vec<String>,
    /// Common names of the subject.
    pub common_names: Vec<String>,
    /// Organizations of the subject.
    pub organizations: Vec<String>,
    /// Whether the subject has other attributes besides.
    pub has_other_attributes: bool,
    /// DNS names of the subject.
    pub dns_names: Vec<String>,
    /// Addresses of the subject.
    pub addresses: Vec<IpAddr>,
    /// Whether there are alternative names of other kinds.
    pub has_other_names: bool,
    /// Whether somebody has approved or denied it.
    pub is_decided: bool,
}

/// Why an object is no request that can be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrProblem {
    /// Not an object of the form that the API has.
    #[error("it is no CertificateSigningRequest: {0}")]
    Form(String),
    /// Another signer's.
    #[error("its signer is `{0}`, which is not judged here")]
    Signer(String),
    /// Its content is no PKCS#10 request.
    #[error("its content is no certificate request")]
    Request,
}

#[derive(Deserialize)]
struct Wire {
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    uid: String,
    creation_timestamp: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    request: String,
    signer_name: String,
    #[serde(default)]
    usages: Vec<String>,
    #[serde(default)]
    username: String,
    #[serde(default)]
    groups: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
}

impl CertificateRequest {
    /// Reads an object of the API.
    ///
    /// # Errors
    ///
    /// When it is another signer's, or cannot be read.
    pub fn from_object(object: &Value) -> Result<Self, CsrProblem> {
        let wire =
            Wire::deserialize(object).map_err(|error| CsrProblem::Form(error.to_string()))?;
        let signer = SignerName::from_name(&wire.spec.signer_name)
            .ok_or_else(|| CsrProblem::Signer(wire.spec.signer_name.clone()))?;
        let pem = BASE64_STANDARD
            .decode(&wire.spec.request)
            .map_err(|_| CsrProblem::Request)?;
        let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).map_err(|_| CsrProblem::Request)?;
        let (rest, parsed) =
            X509CertificationRequest::from_der(&pem.contents).map_err(|_| CsrProblem::Request)?;
        if pem.label != "CERTIFICATE REQUEST" || !rest.is_empty() {
            return Err(CsrProblem::Request);
        }
        let mut request = Self {
            name: wire.metadata.name,
            uid: wire.metadata.uid,
            created: wire.metadata.creation_timestamp,
            signer,
            requester: Requester {
                user: wire.spec.username,
                groups: wire.spec.groups,
            },
            usages: wire.spec.usages,
            common_names: Vec::new(),
            organizations: Vec::new(),
            has_other_attributes: false,
            dns_names: Vec::new(),
            addresses: Vec::new(),
            has_other_names: false,
            is_decided: wire
                .status
                .conditions
                .iter()
                .any(|condition| ["Approved", "Denied"].contains(&condition.kind.as_str())),
        };
        request.read_subject(&parsed)?;
        request.read_alternative_names(&parsed);
        Ok(request)
    }

    fn read_subject(&mut self, parsed: &X509CertificationRequest<'_>) -> Result<(), CsrProblem> {
        let subject = &parsed.certification_request_info.subject;
        let texts = |attributes: &mut dyn Iterator<
            Item = &x509_parser::x509::AttributeTypeAndValue<'_>,
        >| {
            attributes
                .map(|attribute| attribute.as_str().map(str::to_owned))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| CsrProblem::Request)
        };
        self.common_names = texts(&mut subject.iter_common_name())?;
        self.organizations = texts(&mut subject.iter_organization())?;
        self.has_other_attributes =
            subject.iter_attributes().count() != self.common_names.len() + self.organizations.len();
        Ok(())
    }

    fn read_alternative_names(&mut self, parsed: &X509CertificationRequest<'_>) {
        for extension in parsed.requested_extensions().into_iter().flatten() {
            match extension {
                ParsedExtension::SubjectAlternativeName(names) => {
                    for name in &names.general_names {
                        self.read_alternative_name(name);
                    }
                }
                // The signer takes usages from the object, not from here; Go's signer also passes
                // over the rest.
                ParsedExtension::KeyUsage(_) | ParsedExtension::ExtendedKeyUsage(_) => {}
                _ => self.has_other_names = true,
            }
        }
    }

    fn read_alternative_name(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let sixteen = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
                match four.or(sixteen) {
                    Ok(address) => self.addresses.push(address),
                    Err(_) => self.has_other_names = true,
                }
            }
            _ => self.has_other_names = true,
        }
    }

    /// The node that it is for: its one common name is `system:node:<name>`.
    pub fn node_name(&self) -> Option<&str> {
        let [common_name] = self.common_names.as_slice() else {
            return None;
        };
        common_name
            .strip_prefix("system:node:")
            .filter(|name| !name.is_empty())
    }

    /// Whether there is any alternative name.
    pub fn has_alternative_names(&self) -> bool {
        !self.dns_names.is_empty() || !self.addresses.is_empty() || self.has_other_names
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
    use serde_json::json;

    use super::*;

    /// A request as kubelets make them.
    pub(crate) fn object(common_name: &str, names: &[SanType], signer: &str) -> Value {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "system:nodes");
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.subject_alt_names = names.to_vec();
        let key = KeyPair::generate().unwrap();
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        json!({
            "metadata": {"name": "csr-1", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "request": BASE64_STANDARD.encode(pem),
                "signerName": signer,
                "usages": ["digital signature", "client auth"],
                "username": "system:bootstrap:abcdef",
                "groups": ["system:bootstrappers"],
            },
        })
    }

    #[test]
    fn a_kubelets_request_is_read() {
        let signer = SignerName::KubeletClient.name();
        let request =
            CertificateRequest::from_object(&object("system:node:n1", &[], signer)).unwrap();
        assert_eq!(request.node_name(), Some("n1"));
        assert_eq!(request.organizations, ["system:nodes"]);
        assert!(!request.has_other_attributes && !request.has_alternative_names());
        assert!(!request.is_decided);
    }

    #[test]
    fn alternative_names_are_read_by_kind() {
        let names = [
            SanType::DnsName("a.internal".try_into().unwrap()),
            SanType::IpAddress("10.0.0.1".parse().unwrap()),
        ];
        let signer = SignerName::KubeletServing.name();
        let request =
            CertificateRequest::from_object(&object("system:node:n1", &names, signer)).unwrap();
        assert_eq!(request.dns_names, ["a.internal"]);
        assert_eq!(request.addresses, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert!(!request.has_other_names);
        let uri = [SanType::URI("spiffe://a".try_into().unwrap())];
        let request =
            CertificateRequest::from_object(&object("system:node:n1", &uri, signer)).unwrap();
        assert!(request.has_other_names);
    }

    #[test]
    fn what_is_decided_and_what_is_not_judged_here_is_known() {
        let mut decided = object("system:node:n1", &[], SignerName::KubeletClient.name());
        decided["status"] = json!({"conditions": [{"type": "Denied"}]});
        assert!(
            CertificateRequest::from_object(&decided)
                .unwrap()
                .is_decided
        );
        let other = object("a", &[], "kubernetes.io/kube-apiserver-client");
        assert!(matches!(
            CertificateRequest::from_object(&other),
            Err(CsrProblem::Signer(_))
        ));
    }

    proptest! {
        #[test]
        fn any_content_is_a_request_or_a_problem(bytes: Vec<u8>, label in "[A-Z ]{0,20}") {
            let mut object = object("a", &[], SignerName::KubeletClient.name());
            let body = BASE64_STANDARD.encode(&bytes);
            let pem = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
            object["spec"]["request"] = json!(BASE64_STANDARD.encode(pem));
            let _ = CertificateRequest::from_object(&object);
            object["spec"]["request"] = json!(body);
            let _ = CertificateRequest::from_object(&object);
        }
    }
}
