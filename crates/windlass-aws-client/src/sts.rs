//! Security Token Service: who we are.

use serde::Deserialize;

use crate::call::Client;
use crate::endpoint::Service;
use crate::error::CallError;
use crate::query::Query;

const VERSION: &str = "2011-06-15";

/// The service's calls.
#[derive(Clone, Copy, Debug)]
pub struct Sts<'a> {
    client: &'a Client,
}

impl Client {
    /// Security Token Service.
    pub fn sts(&self) -> Sts<'_> {
        Sts { client: self }
    }
}

/// Whose credentials are in use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CallerIdentity {
    /// The account.
    pub account: String,
    /// The user or assumed role.
    pub arn: String,
    /// Unique id of the user or role.
    pub user_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    get_caller_identity_result: CallerIdentity,
}

impl Sts<'_> {
    /// Whose credentials are in use. Needs no permission.
    pub async fn get_caller_identity(&self) -> Result<CallerIdentity, CallError> {
        self.client
            .observed("GetCallerIdentity", async {
                let answer: Answer = Query::read(Service::Sts, VERSION, "GetCallerIdentity")
                    .send(self.client)
                    .await?;
                Ok(answer.get_caller_identity_result)
            })
            .await
    }
}
