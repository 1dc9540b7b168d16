//! A cluster's join credential: rotated by the binary, looked at in Parameter Store, and tried
//! against the API server.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use windlass_provision::iam::Actor;
use windlass_testbed::{Testbed, User};

use crate::{
    Finished, Parameter, Ssm, Tool, called, check_granted, prepare_for_joins, wait_until_granted,
};

/// The shared test bed, emptied and prepared for joins once for the whole process: for suites whose
/// tests run at the same time, each with a cluster's name of its own.
pub fn joinable_testbed() -> Result<&'static Testbed> {
    static PREPARED: OnceLock<Result<(), String>> = OnceLock::new();
    let testbed = windlass_testbed::shared();
    PREPARED
        .get_or_init(|| {
            let prepared = crate::testbed().and_then(prepare_for_joins);
            prepared.map_err(|error| format!("{error:#}"))
        })
        .clone()
        .map_err(|error| anyhow!(error))?;
    Ok(testbed)
}

/// The join credential of a cluster of some name. Rotators of different names do not see each
/// other's tokens, so that tests with different names do not meet.
#[derive(Clone, Debug)]
pub struct Credential {
    testbed: &'static Testbed,
    cluster: String,
}

/// What is published.
#[derive(Clone, Debug)]
pub struct Published {
    /// The whole document.
    pub document: Value,
    /// Counted from 1 with every write.
    pub version: u64,
    /// The token in it.
    pub token: String,
}

impl Published {
    /// The token's id, which is no secret.
    pub fn id(&self) -> &str {
        self.token.split('.').next().unwrap_or_default()
    }

    /// The token's secret.
    pub fn secret(&self) -> &str {
        self.token.split('.').nth(1).unwrap_or_default()
    }
}

impl Credential {
    /// That of a cluster of this name.
    pub fn of(testbed: &'static Testbed, cluster: &str) -> Self {
        Self {
            testbed,
            cluster: cluster.to_owned(),
        }
    }

    /// Name of the parameter.
    pub fn parameter(&self) -> String {
        format!("/windlass/{}/join", self.cluster)
    }

    /// Name of the group that only this cluster's tokens put their bearers in.
    pub fn group(&self) -> String {
        format!("system:bootstrappers:windlass:{}", self.cluster)
    }

    /// One look of a rotator, without a random wait before it. Fails if it calls anything of AWS that
    /// a rotator's policy does not grant.
    pub fn rotate(&self, tool: &Tool, flags: &[&str]) -> Result<Finished> {
        let once = ["token", "rotate", "--once", "--spread", "0s"];
        let arguments = [&once[..], &["--cluster", &self.cluster], flags].concat();
        let calls = self.testbed.proxy_before(tool.aws())?;
        let finished = tool.clone().aws_through(&calls).run(&arguments)?;
        check_granted(&[Actor::Rotator], &called(&calls))?;
        Ok(finished)
    }

    /// The parameter as it is stored; none if there is none.
    pub fn stored(&self) -> Result<Option<Parameter>> {
        Ssm::of(self.testbed).get(&self.parameter())
    }

    /// What is published, encrypted.
    pub fn published(&self) -> Result<Published> {
        let parameter = self.stored()?.context("nothing is published")?;
        ensure!(parameter.kind == "SecureString", "{}", parameter.kind);
        let document = parameter.json()?;
        let token = document["token"].as_str().context("no token")?.to_owned();
        Ok(Published {
            document,
            version: parameter.version,
            token,
        })
    }

    /// Writes the parameter, as an operator (or an attacker) would.
    pub fn overwrite(&self, value: &str) -> Result<()> {
        Ssm::of(self.testbed).put(&self.parameter(), "SecureString", value)
    }

    /// Deletes the parameter.
    pub fn forget(&self) -> Result<()> {
        Ssm::of(self.testbed).delete(&self.parameter())
    }
}

/// A token of a service account.
pub(crate) fn service_account_token(
    testbed: &Testbed,
    namespace: &str,
    name: &str,
) -> Result<String> {
    let accounts = testbed.cluster().api::<ServiceAccount>(namespace);
    let request = TokenRequest::default();
    let token =
        testbed.run(accounts.create_token_request(name, &PostParams::default(), &request))?;
    token.status.and_then(|it| it.token).context("a token")
}

/// A kubeconfig of a service account of `kube-system`.
pub fn service_account_kubeconfig(testbed: &Testbed, name: &str) -> Result<PathBuf> {
    let token = service_account_token(testbed, "kube-system", name)?;
    let text = fs::read_to_string(testbed.kubeconfig(User::Admin))?;
    let mut kubeconfig: Value = serde_json::from_str(&text)?;
    kubeconfig["users"][0]["user"] = json!({ "token": token });
    let path = testbed.directory().join(format!("{name}.kubeconfig"));
    fs::write(&path, kubeconfig.to_string())?;
    Ok(path)
}

/// Applies what `windlass manifests` renders of a component for the example's cluster, as an operator
/// does, and gives it. Nothing runs its pods.
pub fn apply_component(testbed: &Testbed, tool: &Tool, component: &str) -> Result<Vec<Value>> {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/cluster.yaml");
    let render = ["manifests", "--config", config, "-o", "json", "--component"];
    let rendered = tool.run(&[&render[..], &[component]].concat())?.expect(0)?;
    let list: Value = serde_json::from_str(&rendered.stdout)?;
    let objects = list["items"].as_array().context("a list")?;
    for object in objects {
        testbed.cluster().apply_object(object)?;
    }
    wait_until_granted(testbed, objects)?;
    Ok(objects.clone())
}

/// The API server as another user, whose entry in a kubeconfig is `user`.
pub fn client_as(testbed: &Testbed, user: &Value) -> Result<kube::Client> {
    let text = fs::read_to_string(testbed.kubeconfig(User::Admin))?;
    let mut kubeconfig: Value = serde_json::from_str(&text)?;
    kubeconfig["users"][0]["user"] = user.clone();
    let kubeconfig = serde_json::from_value(kubeconfig)?;
    testbed.run(async {
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        Ok(kube::Client::try_from(config)?)
    })
}

/// The API server as the bearer of a token.
pub fn bearer(testbed: &Testbed, token: &str) -> Result<kube::Client> {
    client_as(testbed, &json!({ "token": token }))
}

/// Who the bearer of a token is to the API server: name and groups; none when it is nobody.
pub fn who_is(testbed: &Testbed, token: &str) -> Result<Option<(String, Vec<String>)>> {
    let reviews = Api::<SelfSubjectReview>::all(bearer(testbed, token)?);
    let reviewed =
        testbed.run(reviews.create(&PostParams::default(), &SelfSubjectReview::default()));
    match reviewed {
        Ok(review) => {
            let user = review.status.and_then(|status| status.user_info);
            let user = user.context("a review names a user")?;
            Ok(Some((
                user.username.unwrap_or_default(),
                user.groups.unwrap_or_default(),
            )))
        }
        Err(kube::Error::Api(status)) if status.code == 401 => Ok(None),
        Err(error) => Err(error.into()),
    }
}
