//! Whether this node's certificate request was denied: kubeadm only sees that nothing comes, and
//! waits for minutes.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use windlass_kube::Api;
use windlass_provision::csr::{CertificateRequest, SignerName};
use windlass_provision::document::JoinDocument;
use windlass_provision::join::Identity;

use super::attempt::pinned;

/// Pause between two looks. A request that is approved is so within a second or two, so that most
/// joins end before the first look: a hundred that begin at once do not each list all requests.
const PAUSE: Duration = Duration::from_secs(5);
/// Longest wait for one list.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How much the API server's clock may be behind.
const SKEW: SignedDuration = SignedDuration::from_mins(1);

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests?fieldSelector=\
                        spec.signerName%3Dkubernetes.io%2Fkube-apiserver-client-kubelet";

/// Denials that an earlier attempt has ended at: the next one makes another request.
pub(super) type Known = BTreeSet<String>;

/// The certificate requests of one attempt.
pub(super) struct Requests<'a> {
    /// The bearer of a token may read certificate requests.
    api: Option<Api>,
    node_name: &'a str,
    since: Timestamp,
}

impl<'a> Requests<'a> {
    /// From now on.
    pub(super) fn of(identity: &'a Identity, document: &JoinDocument) -> Self {
        let token = document.token.expose();
        let api = pinned(document)
            .and_then(Result::ok)
            .and_then(|endpoint| endpoint.with_bearer_token(token.expose()).ok());
        Self {
            api,
            node_name: &identity.node_name,
            since: Timestamp::now() - SKEW,
        }
    }

    /// Looks again and again; why the request was denied, once it is.
    pub(super) async fn denied(&self, known: &mut Known) -> String {
        loop {
            tokio::time::sleep(PAUSE).await;
            if let Some(why) = self.denial(known).await {
                return why;
            }
        }
    }

    /// Why the request was denied, if it is. That it cannot be seen is no news: kubeadm says what
    /// is wrong with the API server.
    pub(super) async fn denial(&self, known: &mut Known) -> Option<String> {
        let list = self.api.as_ref()?.get::<Value>(REQUESTS);
        let list = tokio::time::timeout(TIMEOUT, list).await.ok()?.ok()?;
        newly_denied(&list, self.node_name, self.since, known)
    }
}

fn newly_denied(
    list: &Value,
    node_name: &str,
    since: Timestamp,
    known: &mut Known,
) -> Option<String> {
    let items = list.get("items")?.as_array()?;
    items.iter().find_map(|object| {
        let request = CertificateRequest::from_object(object).ok()?;
        let is_ours = request.signer == SignerName::KubeletClient
            && request.node_name() == Some(node_name)
            && request.created >= since;
        let conditions = object.pointer("/status/conditions")?.as_array()?;
        let denied = conditions
            .iter()
            .find(|condition| condition["type"] == "Denied")?;
        let uid = object.pointer("/metadata/uid")?.as_str()?;
        if !is_ours || !known.insert(uid.to_owned()) {
            return None;
        }
        let message = denied.get("message").and_then(Value::as_str);
        let message = message.unwrap_or("no reason given");
        Some(format!("the certificate request was denied: {message}"))
    })
}
