//! What is published for nodes to join with: one JSON object in one encrypted parameter.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use windlass_aws_client::Secret;

use crate::pin::{self, BundleError, CaPin};
use crate::token::BootstrapToken;

/// The version that this program writes and reads.
pub const VERSION: u64 = 1;
/// Longest value of a parameter of the standard tier, in bytes.
pub const MAX_LENGTH: usize = 4096;

/// The join credential and what it is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinDocument {
    /// Name of the cluster.
    pub cluster: String,
    /// `host:port` of the API server, as nodes reach it.
    pub endpoint: String,
    /// The token.
    pub token: BootstrapToken,
    /// Pins of all certificates of the CA bundle.
    pub pins: Vec<CaPin>,
    /// CA bundle in PEM; none where the document would be too long with it.
    pub certificate_authority: Option<String>,
    /// When the token was made.
    pub issued: Timestamp,
    /// When the token expires.
    pub expires: Timestamp,
    /// Version of the API server, such as `v1.36.3`.
    pub kubernetes: String,
    /// Who published it.
    pub by: String,
}

/// Why a parameter's value is no document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is no JSON object of that form.
    #[error("it is no join document: {0}")]
    Form(&'static str),
    /// A later program wrote it.
    #[error("its version is {0}, and this program reads version {VERSION}: update Windlass here")]
    Version(u64),
    /// The CA bundle in it does not match its own pins.
    #[error("its CA bundle is not the one it pins")]
    Bundle(#[source] BundleError),
    /// It would be too long even without the CA bundle.
    #[error("the join document has {0} bytes, and a standard parameter holds {MAX_LENGTH}")]
    Length(usize),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    v: u64,
    cluster: String,
    endpoint: String,
    token: String,
    ca_hashes: Vec<CaPin>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    issued: Timestamp,
    expires: Timestamp,
    #[serde(default)]
    kubernetes: String,
    #[serde(default)]
    by: String,
}

#[derive(Deserialize)]
struct Versioned {
    v: u64,
}

impl JoinDocument {
    /// The parameter's value. The CA bundle is left out where it does not fit: nodes then fetch
    /// it and hold it against the pins.
    ///
    /// # Errors
    ///
    /// When it is too long all the same.
    pub fn to_value(&self) -> Result<Secret, DocumentError> {
        let mut wire = Wire {
            v: VERSION,
            cluster: self.cluster.clone(),
            endpoint: self.endpoint.clone(),
            token: self.token.expose().expose().to_owned(),
            ca_hashes: self.pins.clone(),
            ca: self
                .certificate_authority
                .as_ref()
                .map(|pem| BASE64_STANDARD.encode(pem)),
            issued: self.issued,
            expires: self.expires,
            kubernetes: self.kubernetes.clone(),
            by: self.by.clone(),
        };
        let write = |wire: &Wire| {
            serde_json::to_string(wire).map_err(|_| DocumentError::Form("it cannot be written"))
        };
        let mut value = write(&wire)?;
        if value.len() > MAX_LENGTH {
            wire.ca = None;
            value = write(&wire)?;
        }
        if value.len() > MAX_LENGTH {
            return Err(DocumentError::Length(value.len()));
        }
        Ok(Secret::new(value))
    }

    /// Reads a parameter's value. Unknown keys are passed over.
    ///
    /// # Errors
    ///
    /// When it is no document, or one of another version.
    pub fn from_value(value: &Secret) -> Result<Self, DocumentError> {
        // The decoder's own messages quote what they found, which may be the token.
        let Ok(Versioned { v }) = serde_json::from_str(value.expose()) else {
            return Err(DocumentError::Form("no JSON object with a version `v`"));
        };
        if v != VERSION {
            return Err(DocumentError::Version(v));
        }
        let wire: Wire = serde_json::from_str(value.expose())
            .map_err(|_| DocumentError::Form("a field is missing or of another type"))?;
        let certificate_authority = wire
            .ca
            .map(|encoded| {
                BASE64_STANDARD
                    .decode(encoded)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .ok_or(DocumentError::Form("`ca` is no text in base64"))
            })
            .transpose()?;
        if wire.ca_hashes.is_empty() {
            return Err(DocumentError::Form("`caHashes` is empty"));
        }
        if !is_endpoint(&wire.endpoint) {
            return Err(DocumentError::Form("`endpoint` is no host and port"));
        }
        Ok(Self {
            cluster: wire.cluster,
            endpoint: wire.endpoint,
            token: wire
                .token
                .parse()
                .map_err(|_| DocumentError::Form("`token` is no bootstrap token"))?,
            pins: wire.ca_hashes,
            certificate_authority,
            issued: wire.issued,
            expires: wire.expires,
            kubernetes: wire.kubernetes,
            by: wire.by,
        })
    }

    /// Holds the CA bundle, if there is one, against the document's pins and, where the reader
    /// has pins of its own, against those.
    ///
    /// # Errors
    ///
    /// When a bundle or the pins differ from what is pinned.
    pub fn verify(&self, own_pins: &[CaPin]) -> Result<(), DocumentError> {
        if let Some(bundle) = &self.certificate_authority {
            pin::verify_bundle(bundle.as_bytes(), &self.pins).map_err(DocumentError::Bundle)?;
            if !own_pins.is_empty() {
                pin::verify_bundle(bundle.as_bytes(), own_pins).map_err(DocumentError::Bundle)?;
            }
        } else if !own_pins.is_empty() && !self.pins.iter().any(|pin| own_pins.contains(pin)) {
            return Err(DocumentError::Bundle(BundleError::Mismatch {
                found: self.pins.clone(),
                pinned: own_pins.to_vec(),
            }));
        }
        Ok(())
    }
}

/// Whether a text is `host:port` and nothing that could change the meaning of a URL.
fn is_endpoint(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CA: &str = include_str!("pin/ca.crt");

    fn example() -> JoinDocument {
        JoinDocument {
            cluster: "prod".to_owned(),
            endpoint: "api.example.internal:443".to_owned(),
            token: "abcdef.0123456789abcdef".parse().unwrap(),
            pins: CaPin::of_bundle(CA.as_bytes()).unwrap(),
            certificate_authority: Some(CA.to_owned()),
            issued: "2026-01-01T00:00:00Z".parse().unwrap(),
            expires: "2026-01-01T01:00:00Z".parse().unwrap(),
            kubernetes: "v1.36.3".to_owned(),
            by: "ip-10-0-1-7/windlass 0.1.0".to_owned(),
        }
    }

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let value = example().to_value().unwrap();
        assert!(value.expose().starts_with(
            r#"{"v":1,"cluster":"prod","endpoint":"api.example.internal:443","token":"abcdef.0123456789abcdef","caHashes":["sha256:"#
        ));
        assert!(
            value
                .expose()
                .contains(r#""issued":"2026-01-01T00:00:00Z""#)
        );
        assert_eq!(JoinDocument::from_value(&value).unwrap(), example());
    }

    #[test]
    fn unknown_keys_are_passed_over_and_unknown_versions_refused() {
        let value = example().to_value().unwrap();
        let with = |from: &str, to: &str| Secret::new(value.expose().replacen(from, to, 1));
        assert!(JoinDocument::from_value(&with("{", r#"{"later":[1],"#)).is_ok());
        let newer = JoinDocument::from_value(&with(r#""v":1"#, r#""v":2"#));
        assert!(matches!(newer, Err(DocumentError::Version(2))));
        let bare = JoinDocument::from_value(&Secret::new("abcdef.0123456789abcdef"));
        assert!(matches!(bare, Err(DocumentError::Form(_))));
        for (from, to) in [
            ("abcdef.0", "abcdef-0"),
            (":443", ""),
            (":443", ":0"),
            ("api.", "user@api."),
            (r#""expires":"2026"#, r#""expires":"soon"#),
        ] {
            assert!(JoinDocument::from_value(&with(from, to)).is_err(), "{to}");
        }
    }

    #[test]
    fn an_error_does_not_repeat_the_token() {
        let value = example().to_value().unwrap();
        let broken = Secret::new(value.expose().replacen("cdef\"", "cdef!\"", 1));
        let error = JoinDocument::from_value(&broken).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("0123456789"));
        assert!(!format!("{:?}", example()).contains("0123456789"));
    }

    #[test]
    fn the_bundle_is_left_out_where_it_does_not_fit() {
        let long = JoinDocument {
            certificate_authority: Some(CA.repeat(10)),
            ..example()
        };
        let read = JoinDocument::from_value(&long.to_value().unwrap()).unwrap();
        assert_eq!(read.certificate_authority, None);
        assert_eq!(read.pins, example().pins);
        let longer = JoinDocument {
            cluster: "c".repeat(MAX_LENGTH),
            ..example()
        };
        assert!(matches!(longer.to_value(), Err(DocumentError::Length(_))));
    }

    #[test]
    fn the_bundle_must_be_the_pinned_one() {
        let other: CaPin = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        assert!(example().verify(&[]).is_ok());
        assert!(example().verify(&example().pins).is_ok());
        assert!(example().verify(&[other]).is_err());
        let lying = JoinDocument {
            pins: vec![other],
            ..example()
        };
        assert!(lying.verify(&[]).is_err());
        let without = JoinDocument {
            certificate_authority: None,
            ..example()
        };
        assert!(without.verify(&example().pins).is_ok());
        assert!(without.verify(&[other]).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_document_or_an_error(text: String) {
            let _ = JoinDocument::from_value(&Secret::new(text));
        }
    }
}
