//! The join credential as the cluster knows it, and those who keep it good.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use windlass_kube::{Api, Endpoint};
use windlass_provision::cluster_config::ClusterConfig;
use windlass_provision::cluster_info::ClusterInfo;
use windlass_provision::document::JoinDocument;
use windlass_provision::pin::CaPin;
use windlass_provision::token::{
    BootstrapToken, DEFAULT_NODE_GROUP, GroupName, NAMESPACE, TokenRecord, TokenRequest, Usage,
};

use super::Findings;
use super::kubernetes::failed;
use crate::json::{items, text};

/// How long a signature may take.
const SIGNED_WITHIN: Duration = Duration::from_secs(15);
/// Life of the token that is tried.
const PROBE_LIFE: SignedDuration = SignedDuration::from_mins(5);
const PAUSE: Duration = Duration::from_millis(300);
/// By which every joining node's request is approved.
const AUTO_APPROVAL: &str = "system:certificates.k8s.io:certificatesigningrequests:nodeclient";

pub(super) async fn look(
    api: &Api,
    config: &ClusterConfig,
    info: Option<&ClusterInfo>,
    published: Option<&JoinDocument>,
    findings: &mut Findings,
) {
    if config.spec.csr.verify {
        unseen(api, findings).await;
    }
    if let Some(document) = published {
        token(api, document, info, findings).await;
    }
    ready(
        api,
        "daemonsets",
        "windlass-token-rotator",
        "numberReady",
        "the token rotator",
        findings,
    )
    .await;
    if config.spec.csr.verify {
        ready(
            api,
            "deployments",
            "windlass-csr-approver",
            "readyReplicas",
            "the approver of certificate requests",
            findings,
        )
        .await;
    }
}

/// Whether requests are approved unseen although the file wants them looked at.
async fn unseen(api: &Api, findings: &mut Findings) {
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    // Who may not read them has been told.
    let Ok(list) = api.get::<Value>(path).await else {
        return;
    };
    let is_unseen = items(&list)
        .filter(|binding| binding["roleRef"]["name"] == AUTO_APPROVAL)
        .flat_map(|binding| binding["subjects"].as_array().into_iter().flatten())
        .any(|subject| subject["name"] == DEFAULT_NODE_GROUP);
    if is_unseen {
        findings.fail(
            "every holder of a join token becomes any node: requests are approved unseen, and \
             spec.csr.verify is set",
            "run the approver, which takes the binding away: `windlass manifests --component \
             csr-approver`",
        );
    }
}

/// The published token as the cluster knows it.
async fn token(
    api: &Api,
    document: &JoinDocument,
    info: Option<&ClusterInfo>,
    findings: &mut Findings,
) {
    const FIX: &str = "the rotator publishes another at its next look: see its log";
    let id = document.token.id();
    let path = format!(
        "/api/v1/namespaces/{NAMESPACE}/secrets/{}",
        id.secret_name()
    );
    let record = match api.get::<Value>(&path).await {
        Ok(secret) => TokenRecord::from_secret(&secret),
        Err(error) if error.is_not_found() => {
            return findings.fail(
                format!("the cluster does not know the published token {id}: its Secret is gone"),
                FIX,
            );
        }
        // Who may not read Secrets learns of the signature at least.
        Err(_) => return signature(document, info, findings),
    };
    match record {
        Err(problem) => {
            return findings.fail(
                format!("the published token {id} is of no use: {problem}"),
                FIX,
            );
        }
        Ok(record) if record.is_expired(Timestamp::now()) => {
            return findings.fail(format!("the published token {id} has expired"), FIX);
        }
        Ok(_) => {}
    }
    signature(document, info, findings);
}

fn signature(document: &JoinDocument, info: Option<&ClusterInfo>, findings: &mut Findings) {
    let Some(info) = info else {
        // Told of already.
        return;
    };
    let id = document.token.id();
    if !info.has_signature_of(id) {
        return findings.fail(
            format!("cluster-info has no signature of the published token {id}"),
            "start kube-controller-manager with --controllers=*,bootstrapsigner,tokencleaner",
        );
    }
    if !info.is_signed_by(&document.token) {
        return findings.fail(
            format!("the signature of token {id} in cluster-info is not the token's"),
            "somebody writes there: look at who may change ConfigMap kube-public/cluster-info",
        );
    }
    match CaPin::of_bundle(info.certificate_authority.as_bytes()) {
        Ok(pins) if pins == document.pins => {
            findings.ok(format!("the published token {id} is known, and signed"));
        }
        _ => findings.fail(
            "the published pins are not those of the certificate authority in cluster-info",
            "the rotator publishes them anew; if they go on to differ, somebody writes one of them",
        ),
    }
}

/// That a workload of ours, if the cluster has it, has its pods.
async fn ready(
    api: &Api,
    kind: &str,
    name: &str,
    field: &str,
    what: &str,
    findings: &mut Findings,
) {
    let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/{kind}/{name}");
    let object: Value = match api.get(&path).await {
        Ok(object) => object,
        Err(error) if error.is_not_found() => {
            // The rotator may be a unit or a cron job, and the token's age has told.
            if kind == "deployments" {
                findings.fail(
                    format!("{what} is not there, and spec.csr.verify is set: no node can join"),
                    "`windlass manifests --component csr-approver | kubectl apply --server-side -f -`",
                );
            }
            return;
        }
        Err(error) => return failed(findings, what, &error),
    };
    let count = |value: &Value| value.as_u64().unwrap_or_default();
    let wanted =
        count(&object["status"]["desiredNumberScheduled"]).max(count(&object["spec"]["replicas"]));
    let ready = count(&object["status"][field]);
    if 0 < ready {
        findings.ok(format!("{what} runs ({ready} of {wanted})"));
    } else {
        findings.fail(
            format!("{what} has no ready pod of {wanted}"),
            format!("`kubectl -n {NAMESPACE} describe {kind} {name}`, and its pods' logs"),
        );
    }
}

/// Tries a token: makes one of five minutes, logs in with it, waits for its signature, and deletes it.
pub(super) async fn probe(endpoint: &Endpoint, findings: &mut Findings) {
    let api = &endpoint.api;
    let token = match crate::token::random() {
        Ok(mut random) => BootstrapToken::generate(&mut random),
        Err(error) => return findings.fail(format!("{error:#}"), "try again"),
    };
    let id = token.id();
    let expires = match api.server_time().await {
        Ok(now) => now + PROBE_LIFE,
        Err(error) => return failed(findings, "a token to try", &error),
    };
    let groups: Vec<GroupName> = DEFAULT_NODE_GROUP.parse().into_iter().collect();
    let request = TokenRequest {
        token: &token,
        expires,
        usages: &[Usage::Authentication, Usage::Signing],
        groups: &groups,
        description: "windlass doctor --probe",
        managed: false,
    };
    let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
    let secret = request.to_secret();
    if let Err(error) = api.create::<serde::de::IgnoredAny>(&path, &secret).await {
        return failed(findings, "a token to try", &error);
    }
    logs_in(endpoint, &token, findings).await;
    is_signed(api, &token, findings).await;
    let path = format!("{path}/{}", id.secret_name());
    if let Err(error) = api.delete(&path, None).await {
        findings.warn(
            format!("the token {id} that was tried is still there: {error}"),
            format!("`windlass token delete {id}`; it expires in five minutes"),
        );
    }
}

async fn logs_in(endpoint: &Endpoint, token: &BootstrapToken, findings: &mut Findings) {
    let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let fix = "start kube-apiserver with --enable-bootstrap-token-auth=true";
    let bearer = match endpoint.with_bearer_token(token.expose().expose()) {
        Ok(bearer) => bearer,
        Err(error) => return findings.fail(error.to_string(), fix),
    };
    let begun = tokio::time::Instant::now();
    loop {
        // The authenticator reads a cache: a new Secret may take a second to be seen.
        match bearer.create::<Value>(path, &review).await {
            Ok(review) if text(&review, "/status/userInfo/username") == token.id().user_name() => {
                return findings.ok("a token that was tried logs in");
            }
            Err(error) if error.code() != Some(401) => {
                return failed(findings, "a token that was tried", &error);
            }
            _ => {}
        }
        if SIGNED_WITHIN <= begun.elapsed() {
            return findings.fail("a token that was tried does not log in", fix);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn is_signed(api: &Api, token: &BootstrapToken, findings: &mut Findings) {
    let begun = tokio::time::Instant::now();
    loop {
        let path = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
        let info = api.get::<Value>(path).await;
        let info = info
            .ok()
            .and_then(|map| ClusterInfo::from_config_map(&map).ok());
        if info.is_some_and(|info| info.is_signed_by(token)) {
            return findings.ok("a token that was tried is signed");
        }
        if SIGNED_WITHIN <= begun.elapsed() {
            return findings.fail(
                "a token that was tried is not signed, so nodes that discover by token wait for ever",
                "start kube-controller-manager with --controllers=*,bootstrapsigner,tokencleaner",
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}
