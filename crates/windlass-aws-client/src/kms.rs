//! KMS: the key that encrypts the join credential.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::call::Client;
use crate::endpoint::Service;
use crate::error::{CallError, ErrorClass};
use crate::json::{self, Manner};

const TARGET: (Service, &str) = (Service::Kms, "TrentService");
/// A key has one policy, and this is its name.
const POLICY_NAME: &str = "default";

/// The service's calls.
#[derive(Clone, Copy, Debug)]
pub struct Kms<'a> {
    client: &'a Client,
}

impl Client {
    /// KMS.
    pub fn kms(&self) -> Kms<'_> {
        Kms { client: self }
    }
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Key {
    /// Its id.
    #[serde(rename = "KeyId")]
    pub id: String,
    /// Its Amazon resource name.
    #[serde(rename = "Arn")]
    pub arn: String,
    /// `Enabled`, `Disabled`, `PendingDeletion` and more.
    #[serde(rename = "KeyState")]
    pub state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    key_metadata: Key,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyTags {
    #[serde(default)]
    tags: Vec<KeyTag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyTag {
    tag_key: String,
    #[serde(default)]
    tag_value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    policy: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rotation {
    key_rotation_enabled: bool,
}

fn as_list(tags: &BTreeMap<String, String>) -> Vec<Value> {
    tags.iter()
        .map(|(key, value)| json!({ "TagKey": key, "TagValue": value }))
        .collect()
}

impl Kms<'_> {
    /// A key by its id, ARN or alias; none if there is none.
    ///
    /// IAM: `kms:DescribeKey`.
    pub async fn describe_key(&self, key: &str) -> Result<Option<Key>, CallError> {
        let input = json!({ "KeyId": key });
        match self.read::<Described>("DescribeKey", key, &input).await {
            Ok(described) => Ok(Some(described.key_metadata)),
            Err(error) if error.class() == ErrorClass::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a key for encryption with tags. AWS takes no token for it: who asks twice has two.
    ///
    /// IAM: `kms:CreateKey`, `kms:TagResource`.
    pub async fn create_key(
        &self,
        about: &str,
        description: &str,
        policy: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Key, CallError> {
        let input = json!({
            "Description": description, "Policy": policy, "Tags": as_list(tags),
        });
        let created: Described = self
            .call("CreateKey", about, Manner::WRITE_ONCE, &input)
            .await?;
        Ok(created.key_metadata)
    }

    /// Gives a key a name.
    ///
    /// IAM: `kms:CreateAlias` on both.
    pub async fn create_alias(&self, alias: &str, key: &str) -> Result<(), CallError> {
        let input = json!({ "AliasName": alias, "TargetKeyId": key });
        self.write("CreateAlias", alias, &input).await
    }

    /// Takes a name away from its key; that there is none is no error.
    ///
    /// IAM: `kms:DeleteAlias` on both.
    pub async fn delete_alias(&self, alias: &str) -> Result<(), CallError> {
        let input = json!({ "AliasName": alias });
        match self.write("DeleteAlias", alias, &input).await {
            Err(error) if error.class() == ErrorClass::NotFound => Ok(()),
            result => result,
        }
    }

    /// A key's policy, JSON.
    ///
    /// IAM: `kms:GetKeyPolicy`.
    pub async fn key_policy(&self, key: &str) -> Result<String, CallError> {
        let input = json!({ "KeyId": key, "PolicyName": POLICY_NAME });
        let answer: Policy = self.read("GetKeyPolicy", key, &input).await?;
        Ok(answer.policy)
    }

    /// Sets a key's policy.
    ///
    /// IAM: `kms:PutKeyPolicy`.
    pub async fn put_key_policy(&self, key: &str, policy: &str) -> Result<(), CallError> {
        let input = json!({ "KeyId": key, "PolicyName": POLICY_NAME, "Policy": policy });
        self.write("PutKeyPolicy", key, &input).await
    }

    /// Whether a key's material is renewed every year.
    ///
    /// IAM: `kms:GetKeyRotationStatus`.
    pub async fn is_rotated(&self, key: &str) -> Result<bool, CallError> {
        let input = json!({ "KeyId": key });
        let answer: Rotation = self.read("GetKeyRotationStatus", key, &input).await?;
        Ok(answer.key_rotation_enabled)
    }

    /// Has a key's material renewed every year.
    ///
    /// IAM: `kms:EnableKeyRotation`.
    pub async fn enable_rotation(&self, key: &str) -> Result<(), CallError> {
        let input = json!({ "KeyId": key });
        self.write("EnableKeyRotation", key, &input).await
    }

    /// A key's tags.
    ///
    /// IAM: `kms:ListResourceTags`.
    pub async fn key_tags(&self, key: &str) -> Result<BTreeMap<String, String>, CallError> {
        let input = json!({ "KeyId": key });
        let answer: KeyTags = self.read("ListResourceTags", key, &input).await?;
        let tags = answer.tags.into_iter();
        Ok(tags.map(|tag| (tag.tag_key, tag.tag_value)).collect())
    }

    /// Sets tags of a key.
    ///
    /// IAM: `kms:TagResource`.
    pub async fn tag_key(
        &self,
        key: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), CallError> {
        let input = json!({ "KeyId": key, "Tags": as_list(tags) });
        self.write("TagResource", key, &input).await
    }

    /// Has a key deleted after so many days, of which AWS takes 7 to 30. Until then it encrypts and
    /// decrypts nothing, and it can be called off.
    ///
    /// IAM: `kms:ScheduleKeyDeletion`.
    pub async fn schedule_deletion(&self, key: &str, days: u32) -> Result<(), CallError> {
        let input = json!({ "KeyId": key, "PendingWindowInDays": days });
        self.write("ScheduleKeyDeletion", key, &input).await
    }

    async fn read<T: serde::de::DeserializeOwned>(
        &self,
        action: &'static str,
        about: &str,
        input: &Value,
    ) -> Result<T, CallError> {
        self.call(action, about, Manner::READ, input).await
    }

    /// An action whose answer says nothing, or nothing that is not known.
    async fn write(
        &self,
        action: &'static str,
        about: &str,
        input: &Value,
    ) -> Result<(), CallError> {
        // Most of them answer with nothing at all.
        self.client
            .observed(action, async {
                json::call_without_answer(self.client, TARGET, action, about, Manner::WRITE, input)
                    .await
            })
            .await
    }

    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        action: &'static str,
        about: &str,
        manner: Manner,
        input: &Value,
    ) -> Result<T, CallError> {
        self.client
            .observed(action, async {
                json::call(self.client, TARGET, action, about, manner, input).await
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_with_its_state() {
        let described: Described = serde_json::from_str(
            r#"{"KeyMetadata":{"KeyId":"1","Arn":"arn:aws:kms:r:1:key/1","KeyState":"Enabled",
                "CreationDate":1.5,"Enabled":true}}"#,
        )
        .unwrap();
        assert_eq!(described.key_metadata.state, "Enabled");
        assert_eq!(described.key_metadata.id, "1");
    }
}
