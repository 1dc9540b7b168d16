//! Making, reading and deleting roles and instance profiles with their tags.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::{Iam, VERSION, write};
use crate::endpoint::Service;
use crate::error::{CallError, ErrorClass};
use crate::query::{Done, Query, members};
use crate::retry::Repeat;

/// An instance profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct InstanceProfile {
    /// Its name.
    pub instance_profile_name: String,
    /// The roles in it: at most one.
    #[serde(deserialize_with = "role_names")]
    pub roles: Vec<String>,
    /// Its tags.
    #[serde(deserialize_with = "tags")]
    pub tags: BTreeMap<String, String>,
}

fn role_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Named {
        role_name: String,
    }
    let roles: Vec<Named> = members(deserializer)?;
    Ok(roles.into_iter().map(|role| role.role_name).collect())
}

fn tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct XmlTag {
        key: String,
        #[serde(default)]
        value: String,
    }
    let tags: Vec<XmlTag> = members(deserializer)?;
    Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ProfileAnswer {
    get_instance_profile_result: ProfileResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ProfileResult {
    instance_profile: InstanceProfile,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagsAnswer {
    list_role_tags_result: TagsResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagsResult {
    #[serde(default, deserialize_with = "tags")]
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PoliciesAnswer {
    list_role_policies_result: PoliciesResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PoliciesResult {
    #[serde(default, deserialize_with = "members")]
    policy_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyAnswer {
    get_role_policy_result: PolicyResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyResult {
    policy_document: String,
}

impl Iam<'_> {
    /// The tags of a role.
    ///
    /// IAM: `iam:ListRoleTags`.
    pub async fn role_tags(&self, role: &str) -> Result<BTreeMap<String, String>, CallError> {
        let query = read("ListRoleTags", role).with("RoleName", role);
        self.client
            .observed("ListRoleTags", async {
                let answer: TagsAnswer = query.send(self.client).await?;
                Ok(answer.list_role_tags_result.tags)
            })
            .await
    }

    /// Names of a role's inline policies.
    ///
    /// IAM: `iam:ListRolePolicies`.
    pub async fn role_policy_names(&self, role: &str) -> Result<Vec<String>, CallError> {
        let query = read("ListRolePolicies", role).with("RoleName", role);
        self.client
            .observed("ListRolePolicies", async {
                let answer: PoliciesAnswer = query.send(self.client).await?;
                Ok(answer.list_role_policies_result.policy_names)
            })
            .await
    }

    /// An inline policy of a role, as JSON; none if there is none of that name.
    ///
    /// IAM: `iam:GetRolePolicy`.
    pub async fn role_policy(&self, role: &str, policy: &str) -> Result<Option<String>, CallError> {
        let query = read("GetRolePolicy", role)
            .with("RoleName", role)
            .with("PolicyName", policy);
        let answer: Result<PolicyAnswer, CallError> = self
            .client
            .observed("GetRolePolicy", async { query.send(self.client).await })
            .await;
        match answer {
            Ok(answer) => {
                let document = answer.get_role_policy_result.policy_document;
                Ok(Some(percent_decode(&document)))
            }
            Err(error) if error.class() == ErrorClass::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a role with tags.
    ///
    /// IAM: `iam:CreateRole`, `iam:TagRole`.
    pub async fn create_tagged_role(
        &self,
        name: &str,
        trust_policy: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), CallError> {
        let query = write("CreateRole", Repeat::OnlyIfRefused)
            .about(name)
            .with("RoleName", name)
            .with("AssumeRolePolicyDocument", trust_policy);
        self.done("CreateRole", with_tags(query, tags)).await
    }

    /// Sets who may assume a role.
    ///
    /// IAM: `iam:UpdateAssumeRolePolicy`.
    pub async fn update_trust_policy(&self, role: &str, document: &str) -> Result<(), CallError> {
        let query = write("UpdateAssumeRolePolicy", Repeat::Safe)
            .about(role)
            .with("RoleName", role)
            .with("PolicyDocument", document);
        self.done("UpdateAssumeRolePolicy", query).await
    }

    /// Sets tags of a role.
    ///
    /// IAM: `iam:TagRole`.
    pub async fn tag_role(
        &self,
        role: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), CallError> {
        let query = write("TagRole", Repeat::Safe)
            .about(role)
            .with("RoleName", role);
        self.done("TagRole", with_tags(query, tags)).await
    }

    /// Removes an inline policy of a role; that there is none is no error.
    ///
    /// IAM: `iam:DeleteRolePolicy`.
    pub async fn delete_role_policy(&self, role: &str, policy: &str) -> Result<(), CallError> {
        let query = write("DeleteRolePolicy", Repeat::OnlyIfRefused)
            .about(role)
            .with("RoleName", role)
            .with("PolicyName", policy);
        self.gone("DeleteRolePolicy", query).await
    }

    /// Deletes a role without policies; that there is none is no error.
    ///
    /// IAM: `iam:DeleteRole`.
    pub async fn delete_role(&self, role: &str) -> Result<(), CallError> {
        let query = write("DeleteRole", Repeat::OnlyIfRefused)
            .about(role)
            .with("RoleName", role);
        self.gone("DeleteRole", query).await
    }

    /// An instance profile; none if there is none of that name.
    ///
    /// IAM: `iam:GetInstanceProfile`.
    pub async fn instance_profile(&self, name: &str) -> Result<Option<InstanceProfile>, CallError> {
        let query = read("GetInstanceProfile", name).with("InstanceProfileName", name);
        let answer: Result<ProfileAnswer, CallError> = self
            .client
            .observed("GetInstanceProfile", async {
                query.send(self.client).await
            })
            .await;
        match answer {
            Ok(answer) => Ok(Some(answer.get_instance_profile_result.instance_profile)),
            Err(error) if error.class() == ErrorClass::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an instance profile with tags.
    ///
    /// IAM: `iam:CreateInstanceProfile`, `iam:TagInstanceProfile`.
    pub async fn create_tagged_instance_profile(
        &self,
        name: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), CallError> {
        let query = write("CreateInstanceProfile", Repeat::OnlyIfRefused)
            .about(name)
            .with("InstanceProfileName", name);
        self.done("CreateInstanceProfile", with_tags(query, tags))
            .await
    }

    /// Sets tags of an instance profile.
    ///
    /// IAM: `iam:TagInstanceProfile`.
    pub async fn tag_instance_profile(
        &self,
        name: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), CallError> {
        let query = write("TagInstanceProfile", Repeat::Safe)
            .about(name)
            .with("InstanceProfileName", name);
        self.done("TagInstanceProfile", with_tags(query, tags))
            .await
    }

    /// Takes a role out of an instance profile; that it is not in it is no error.
    ///
    /// IAM: `iam:RemoveRoleFromInstanceProfile`.
    pub async fn remove_role_from_instance_profile(
        &self,
        profile: &str,
        role: &str,
    ) -> Result<(), CallError> {
        let query = write("RemoveRoleFromInstanceProfile", Repeat::OnlyIfRefused)
            .about(profile)
            .with("InstanceProfileName", profile)
            .with("RoleName", role);
        self.gone("RemoveRoleFromInstanceProfile", query).await
    }

    /// Deletes an instance profile without roles; that there is none is no error.
    ///
    /// IAM: `iam:DeleteInstanceProfile`.
    pub async fn delete_instance_profile(&self, name: &str) -> Result<(), CallError> {
        let query = write("DeleteInstanceProfile", Repeat::OnlyIfRefused)
            .about(name)
            .with("InstanceProfileName", name);
        self.gone("DeleteInstanceProfile", query).await
    }

    async fn done(&self, action: &'static str, query: Query) -> Result<(), CallError> {
        self.client
            .observed(action, async {
                let _: Done = query.send(self.client).await?;
                Ok(())
            })
            .await
    }

    async fn gone(&self, action: &'static str, query: Query) -> Result<(), CallError> {
        match self.done(action, query).await {
            Err(error) if error.class() == ErrorClass::NotFound => Ok(()),
            result => result,
        }
    }
}

fn read(action: &'static str, about: &str) -> Query {
    Query::read(Service::Iam, VERSION, action).about(about)
}

fn with_tags(mut query: Query, tags: &BTreeMap<String, String>) -> Query {
    for (number, (key, value)) in (1..).zip(tags) {
        let prefix = format!("Tags.member.{number}");
        query = query
            .with(format!("{prefix}.Key"), key)
            .with(format!("{prefix}.Value"), value);
    }
    query
}

/// IAM gives documents percent-encoded.
pub fn percent_decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                rest = &tail[2..];
            }
            (byte, _) => {
                decoded.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_decoded() {
        assert_eq!(percent_decode("%7B%22a%22%3A+1%7D"), "{\"a\":+1}");
        assert_eq!(percent_decode("50%"), "50%");
    }

    #[test]
    fn a_profile_is_read_with_roles_and_tags() {
        let xml = "<GetInstanceProfileResponse><GetInstanceProfileResult><InstanceProfile>\
            <InstanceProfileName>p</InstanceProfileName><Roles><member><RoleName>r</RoleName>\
            </member></Roles><Tags><member><Key>a</Key><Value>b</Value></member></Tags>\
            </InstanceProfile></GetInstanceProfileResult></GetInstanceProfileResponse>";
        let answer: ProfileAnswer = quick_xml::de::from_str(xml).unwrap();
        let profile = answer.get_instance_profile_result.instance_profile;
        assert_eq!(profile.roles, ["r"]);
        assert_eq!(profile.tags["a"], "b");
    }
}
