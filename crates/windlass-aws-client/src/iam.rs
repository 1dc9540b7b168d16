//! IAM: roles, their policies and instance profiles.

mod provision;

use serde::Deserialize;

use crate::call::Client;
use crate::endpoint::Service;
use crate::error::{CallError, ErrorClass};
use crate::query::{Done, Query};
use crate::retry::Repeat;

pub use provision::{InstanceProfile, percent_decode};

const VERSION: &str = "2010-05-08";

/// The service's calls.
#[derive(Clone, Copy, Debug)]
pub struct Iam<'a> {
    client: &'a Client,
}

impl Client {
    /// IAM.
    pub fn iam(&self) -> Iam<'_> {
        Iam { client: self }
    }
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Role {
    /// Its name.
    pub role_name: String,
    /// Its Amazon resource name.
    pub arn: String,
    /// Its trust policy, percent-encoded JSON.
    #[serde(default)]
    pub assume_role_policy_document: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoleAnswer {
    #[serde(alias = "GetRoleResult", alias = "CreateRoleResult")]
    result: RoleResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoleResult {
    role: Role,
}

impl Iam<'_> {
    /// A role; none if there is none of that name.
    ///
    /// IAM: `iam:GetRole`.
    pub async fn get_role(&self, name: &str) -> Result<Option<Role>, CallError> {
        let answer: Result<RoleAnswer, CallError> = self
            .client
            .observed("GetRole", async {
                Query::read(Service::Iam, VERSION, "GetRole")
                    .about(name)
                    .with("RoleName", name)
                    .send(self.client)
                    .await
            })
            .await;
        match answer {
            Ok(answer) => Ok(Some(answer.result.role)),
            Err(error) if error.class() == ErrorClass::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a role that whoever the trust policy names may assume.
    ///
    /// IAM: `iam:CreateRole`.
    pub async fn create_role(&self, name: &str, trust_policy: &str) -> Result<Role, CallError> {
        self.client
            .observed("CreateRole", async {
                let answer: RoleAnswer = write("CreateRole", Repeat::OnlyIfRefused)
                    .about(name)
                    .with("RoleName", name)
                    .with("AssumeRolePolicyDocument", trust_policy)
                    .send(self.client)
                    .await?;
                Ok(answer.result.role)
            })
            .await
    }

    /// Sets a role's inline policy of that name.
    ///
    /// IAM: `iam:PutRolePolicy`.
    pub async fn put_role_policy(
        &self,
        role: &str,
        policy_name: &str,
        document: &str,
    ) -> Result<(), CallError> {
        self.client
            .observed("PutRolePolicy", async {
                let _: Done = write("PutRolePolicy", Repeat::Safe)
                    .about(role)
                    .with("RoleName", role)
                    .with("PolicyName", policy_name)
                    .with("PolicyDocument", document)
                    .send(self.client)
                    .await?;
                Ok(())
            })
            .await
    }

    /// Creates an instance profile.
    ///
    /// IAM: `iam:CreateInstanceProfile`.
    pub async fn create_instance_profile(&self, name: &str) -> Result<(), CallError> {
        self.client
            .observed("CreateInstanceProfile", async {
                let _: Done = write("CreateInstanceProfile", Repeat::OnlyIfRefused)
                    .about(name)
                    .with("InstanceProfileName", name)
                    .send(self.client)
                    .await?;
                Ok(())
            })
            .await
    }

    /// Puts a role into an instance profile.
    ///
    /// IAM: `iam:AddRoleToInstanceProfile`, and `iam:PassRole` on the role.
    pub async fn add_role_to_instance_profile(
        &self,
        profile: &str,
        role: &str,
    ) -> Result<(), CallError> {
        self.client
            .observed("AddRoleToInstanceProfile", async {
                let _: Done = write("AddRoleToInstanceProfile", Repeat::OnlyIfRefused)
                    .about(profile)
                    .with("InstanceProfileName", profile)
                    .with("RoleName", role)
                    .send(self.client)
                    .await?;
                Ok(())
            })
            .await
    }
}

fn write(action: &'static str, repeat: Repeat) -> Query {
    Query::write(Service::Iam, VERSION, action, repeat)
}
