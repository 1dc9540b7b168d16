//! Pins of certificate authorities: what a node knows the control plane by.
//!
//! A pin is the SHA-256 of a certificate's `SubjectPublicKeyInfo`, exactly as encoded in the
//! certificate, as kubeadm's `--discovery-token-ca-cert-hash` has it. It survives the renewal of
//! the certificate with the same key.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use x509_parser::pem::Pem;

/// SHA-256 of a certificate's public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaPin([u8; 32]);

/// A text that is no pin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no CA pin: it must be `sha256:` and 64 hexadecimal digits")]
pub struct PinError(String);

/// A bundle whose pins cannot be had, or that is not the one expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// No certificate in it.
    #[error("the CA bundle has no certificate")]
    Empty,
    /// A part of it cannot be read.
    #[error("certificate {position} of the CA bundle cannot be read")]
    Unreadable {
        /// Counted from 1.
        position: usize,
    },
    /// No certificate of it has a pinned key.
    #[error(
        "no certificate of the CA bundle has a pinned key: the bundle has {}, pinned are {}",
        join(.found), join(.pinned)
    )]
    Mismatch {
        /// Pins of the bundle.
        found: Vec<CaPin>,
        /// What was pinned.
        pinned: Vec<CaPin>,
    },
}

fn join(pins: &[CaPin]) -> String {
    let pins: Vec<String> = pins.iter().map(CaPin::to_string).collect();
    pins.join(", ")
}

impl CaPin {
    /// The pin of a `SubjectPublicKeyInfo` in DER.
    pub fn of_public_key(subject_public_key_info: &[u8]) -> Self {
        Self(Sha256::digest(subject_public_key_info).into())
    }

    /// The pin of a certificate in DER.
    ///
    /// # Errors
    ///
    /// When it cannot be read; it is called the first of its bundle.
    pub fn of_certificate(der: &[u8]) -> Result<Self, BundleError> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der)
            .map_err(|_| BundleError::Unreadable { position: 1 })?;
        Ok(Self::of_public_key(certificate.public_key().raw))
    }

    /// One pin for each certificate of a bundle in PEM, sorted, none twice.
    ///
    /// # Errors
    ///
    /// When there is no certificate, or one that cannot be read.
    pub fn of_bundle(pem: &[u8]) -> Result<Vec<Self>, BundleError> {
        let mut pins = BTreeSet::new();
        for (index, der) in certificates(pem)?.iter().enumerate() {
            let pin = Self::of_certificate(der).map_err(|_| BundleError::Unreadable {
                position: index + 1,
            })?;
            pins.insert(pin);
        }
        Ok(pins.into_iter().collect())
    }
}

/// The certificates of a bundle in PEM, in DER.
///
/// # Errors
///
/// When there is none, or a block that cannot be read.
pub fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, BundleError> {
    let mut certificates = Vec::new();
    for (index, block) in Pem::iter_from_buffer(pem).enumerate() {
        let block = block.map_err(|_| BundleError::Unreadable {
            position: index + 1,
        })?;
        if block.label == "CERTIFICATE" {
            certificates.push(block.contents);
        }
    }
    if certificates.is_empty() {
        return Err(BundleError::Empty);
    }
    Ok(certificates)
}

/// Accepts a bundle of which any certificate matches any pin.
///
/// # Errors
///
/// When none does, or the bundle cannot be read.
pub fn verify_bundle(pem: &[u8], pinned: &[CaPin]) -> Result<(), BundleError> {
    let found = CaPin::of_bundle(pem)?;
    if found.iter().any(|pin| pinned.contains(pin)) {
        return Ok(());
    }
    Err(BundleError::Mismatch {
        found,
        pinned: pinned.to_vec(),
    })
}

impl FromStr for CaPin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        parse(text).ok_or_else(|| PinError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<CaPin> {
    let (kind, digits) = text.split_once(':')?;
    if !kind.eq_ignore_ascii_case("sha256") || digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(CaPin(hash))
}

impl fmt::Display for CaPin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("sha256:")?;
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for CaPin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for CaPin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CaPin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made with `openssl req -x509 -newkey ec …`; the pin by `openssl x509 -pubkey -noout |
    /// openssl pkey -pubin -outform der | openssl dgst -sha256`.
    const CERTIFICATE: &str = include_str!("pin/ca.crt");
    const PIN: &str = include_str!("pin/ca.pin");

    fn pin() -> CaPin {
        PIN.trim().parse().unwrap()
    }

    fn other_ca() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        parameters.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn a_pin_is_what_openssl_says() {
        assert_eq!(CaPin::of_bundle(CERTIFICATE.as_bytes()), Ok(vec![pin()]));
        assert_eq!(pin().to_string(), PIN.trim());
    }

    #[test]
    fn any_certificate_may_match_any_pin() {
        let other = other_ca();
        let bundle = format!("{other}{CERTIFICATE}");
        let other_pin = CaPin::of_bundle(other.as_bytes()).unwrap()[0];
        assert_eq!(CaPin::of_bundle(bundle.as_bytes()).unwrap().len(), 2);
        assert_eq!(verify_bundle(bundle.as_bytes(), &[pin()]), Ok(()));
        assert_eq!(
            verify_bundle(CERTIFICATE.as_bytes(), &[other_pin, pin()]),
            Ok(())
        );
        assert_eq!(
            verify_bundle(other.as_bytes(), &[pin()]),
            Err(BundleError::Mismatch {
                found: vec![other_pin],
                pinned: vec![pin()],
            })
        );
        assert!(verify_bundle(CERTIFICATE.as_bytes(), &[]).is_err());
        assert_eq!(verify_bundle(b"", &[pin()]), Err(BundleError::Empty));
        assert_eq!(
            CaPin::of_bundle(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            Err(BundleError::Unreadable { position: 1 })
        );
    }

    #[test]
    fn a_pin_has_one_colon_and_64_digits() {
        let digits = "0123456789abcdefABCDEF0123456789".repeat(2);
        assert!(format!("SHA256:{digits}").parse::<CaPin>().is_ok());
        for wrong in [
            digits.clone(),
            format!("sha512:{digits}"),
            format!("sha256:{digits}0"),
            format!("sha256::{}", &digits[1..]),
            format!("sha256:{}+", &digits[1..]),
            String::new(),
        ] {
            assert!(wrong.parse::<CaPin>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_bundle_or_an_error(bytes: Vec<u8>) {
            let _ = CaPin::of_bundle(&bytes);
        }

        #[test]
        fn a_pin_is_read_as_it_is_written(bytes: [u8; 32]) {
            let pin = CaPin(bytes);
            prop_assert_eq!(pin.to_string().parse(), Ok(pin));
        }
    }
}
