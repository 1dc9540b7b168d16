//! Systems Manager: parameters.

mod provision;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::call::Client;
use crate::endpoint::Service;
use crate::error::{CallError, ErrorClass};
use crate::json::{self, Manner};
use crate::secret::Secret;

const TARGET: (Service, &str) = (Service::Ssm, "AmazonSSM");

/// The service's calls.
#[derive(Clone, Copy, Debug)]
pub struct Ssm<'a> {
    client: &'a Client,
}

impl Client {
    /// Systems Manager.
    pub fn ssm(&self) -> Ssm<'_> {
        Ssm { client: self }
    }
}

/// A parameter and its value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// `String`, `StringList` or `SecureString`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Its value.
    pub value: Secret,
    /// Its version, counted from 1.
    pub version: u64,
    /// When this version was written, by AWS's clock.
    #[serde(rename = "LastModifiedDate", deserialize_with = "seconds")]
    pub modified: Timestamp,
}

/// A time as JSON services have it: seconds since 1970 with a fraction.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    jiff::SignedDuration::try_from_secs_f64(seconds)
        .and_then(Timestamp::from_duration)
        .map_err(serde::de::Error::custom)
}

/// What a parameter is to become.
#[derive(Clone, Debug)]
pub struct PutParameter<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value.
    pub value: &'a Secret,
    /// What it is for.
    pub description: &'a str,
    /// Key that encrypts it; none for a plain `String`.
    pub encryption: Option<Encryption<'a>>,
    /// Whether one of that name may be replaced.
    pub overwrite: bool,
}

/// How a `SecureString` is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption<'a> {
    /// With the account's own key for parameters, `alias/aws/ssm`.
    AccountKey,
    /// With this key: id, alias or Amazon resource name.
    Key(&'a str),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Got {
    parameter: Parameter,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Put {
    version: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutInput<'a> {
    name: &'a str,
    value: &'a str,
    description: &'a str,
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    overwrite: bool,
}

impl Ssm<'_> {
    /// A parameter, decrypted; none if there is none of that name. The name may end in `:` and a
    /// version.
    ///
    /// IAM: `ssm:GetParameter`, and `kms:Decrypt` for an own key.
    pub async fn get_parameter(&self, name: &str) -> Result<Option<Parameter>, CallError> {
        let got = self
            .client
            .observed("GetParameter", async {
                json::call::<Got>(
                    self.client,
                    TARGET,
                    "GetParameter",
                    name,
                    Manner::READ,
                    &serde_json::json!({ "Name": name, "WithDecryption": true }),
                )
                .await
            })
            .await;
        match got {
            Ok(got) => Ok(Some(got.parameter)),
            Err(error) if error.class() == ErrorClass::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a parameter, and gives its new version.
    ///
    /// IAM: `ssm:PutParameter`, and `kms:Encrypt` for an own key.
    pub async fn put_parameter(&self, parameter: &PutParameter<'_>) -> Result<u64, CallError> {
        let input = PutInput {
            name: parameter.name,
            value: parameter.value.expose(),
            description: parameter.description,
            kind: match parameter.encryption {
                Some(_) => "SecureString",
                None => "String",
            },
            key_id: match parameter.encryption {
                Some(Encryption::Key(key)) => Some(key),
                Some(Encryption::AccountKey) | None => None,
            },
            overwrite: parameter.overwrite,
        };
        self.client
            .observed("PutParameter", async {
                let put: Put = json::call(
                    self.client,
                    TARGET,
                    "PutParameter",
                    parameter.name,
                    Manner::WRITE,
                    &input,
                )
                .await?;
                Ok(put.version)
            })
            .await
    }

    /// Deletes a parameter; says whether there was one.
    ///
    /// IAM: `ssm:DeleteParameter`.
    pub async fn delete_parameter(&self, name: &str) -> Result<bool, CallError> {
        let deleted = self
            .client
            .observed("DeleteParameter", async {
                json::call::<serde_json::Value>(
                    self.client,
                    TARGET,
                    "DeleteParameter",
                    name,
                    Manner::WRITE,
                    &serde_json::json!({ "Name": name }),
                )
                .await
            })
            .await;
        match deleted {
            Ok(_) => Ok(true),
            Err(error) if error.class() == ErrorClass::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_read_with_its_time() {
        let parameter: Parameter = serde_json::from_str(
            r#"{"Name":"/a","Type":"SecureString","Value":"x","Version":3,
                "LastModifiedDate":1767225600.25,"ARN":"arn"}"#,
        )
        .unwrap();
        assert_eq!(parameter.modified.to_string(), "2026-01-01T00:00:00.25Z");
        assert_eq!(parameter.version, 3);
    }
}
