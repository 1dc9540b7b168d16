//! `windlass csr-approver` with the real signer: who gets a node's certificate, and who does not.
//! It has the rights of its own service account and no others.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use rcgen::SanType;
use serde_json::json;
use windlass_e2e::{
    Tool, apply_component, called, check_exactly, check_granted, check_rights, check_what_was_said,
    client_as, granted, lone_instance, prepare_for_joins, rights_of, service_account_kubeconfig,
};
use windlass_provision::iam::Actor;
use windlass_testbed::{Group, Process, Proxy, Spec, Testbed, wait_for};

const SOON: Duration = Duration::from_secs(30);
const CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const SERVING: &str = "kubernetes.io/kubelet-serving";

/// An approver at work, and what it calls of AWS.
struct Approver {
    process: Process,
    calls: Proxy,
}

impl Approver {
    fn log(&self) -> String {
        self.process.log()
    }

    /// Fails if it has called anything that its policy does not grant.
    fn check_granted(&self) -> Result<()> {
        check_granted(&[Actor::CsrApprover], &called(&self.calls))
    }
}

fn begin() -> Result<(&'static Testbed, Tool)> {
    let testbed = windlass_e2e::testbed()?;
    prepare_for_joins(testbed)?;
    let tool = Tool::of(testbed);
    apply_component(testbed, &tool, "csr-approver")?;
    let requests = testbed.cluster().client();
    let requests = Api::<CertificateSigningRequest>::all(requests);
    for request in testbed.run(requests.list(&ListParams::default()))? {
        let name = request.metadata.name.unwrap_or_default();
        testbed.run(requests.delete(&name, &DeleteParams::default()))?;
    }
    Ok((testbed, tool))
}

fn approver(testbed: &Testbed, tool: &Tool, name: &str, flags: &[&str]) -> Result<Approver> {
    let kubeconfig = service_account_kubeconfig(testbed, "windlass-csr-approver")?;
    let calls = testbed.proxy_aws()?;
    let tool = tool.clone().kubeconfig(&kubeconfig).aws_through(&calls);
    let mut arguments = vec!["csr-approver", "--cluster", "demo", "--patience", "3s"];
    arguments.extend(["--interval", "500ms"]);
    arguments.extend(flags);
    let mut spec = Spec::new(name, &windlass_e2e::binary()?, arguments);
    spec.environment = tool.environment().to_vec();
    let process = testbed.spawn(spec)?;
    wait_for("the approver to be at work", SOON, || {
        Ok(process.log().contains("judging certificate requests"))
    })?;
    Ok(Approver { process, calls })
}

/// A client that logs in with a bootstrap token of these groups.
fn bearer(testbed: &Testbed, tool: &mut Tool, groups: &str) -> Result<kube::Client> {
    let created = tool
        .run(&["token", "create", "--ttl", "10m", "--groups", groups])?
        .expect(0)?;
    let token = created.stdout.trim();
    tool.keep_secret(token.split_once('.').context("id and secret")?.1);
    windlass_e2e::bearer(testbed, token)
}

const OUR_GROUPS: &str =
    "system:bootstrappers:kubeadm:default-node-token,system:bootstrappers:windlass:demo";

struct Asked<'a> {
    name: &'a str,
    node: &'a str,
    signer: &'a str,
    names: &'a [SanType],
}

fn ask(testbed: &Testbed, client: &kube::Client, asked: &Asked<'_>) -> Result<()> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let subject = &mut params.distinguished_name;
    subject.push(rcgen::DnType::OrganizationName, "system:nodes");
    subject.push(
        rcgen::DnType::CommonName,
        format!("system:node:{}", asked.node),
    );
    params.subject_alt_names = asked.names.to_vec();
    let pem = params
        .serialize_request(&rcgen::KeyPair::generate()?)?
        .pem()?;
    let usage = if asked.signer == CLIENT {
        "client auth"
    } else {
        "server auth"
    };
    let request: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": {"name": asked.name},
        "spec": {
            "request": BASE64_STANDARD.encode(pem),
            "signerName": asked.signer,
            "usages": ["digital signature", usage],
        },
    }))?;
    let requests = Api::<CertificateSigningRequest>::all(client.clone());
    // The authenticator may take a moment to know a new token.
    wait_for("the request to be taken", SOON, || {
        match testbed.run(requests.create(&PostParams::default(), &request)) {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 401 => Ok(false),
            Err(error) => Err(error.into()),
        }
    })
}

fn client_request<'a>(name: &'a str, node: &'a str) -> Asked<'a> {
    Asked {
        name,
        node,
        signer: CLIENT,
        names: &[],
    }
}

/// The decision, once there is one: `Approved` or `Denied`, and why.
fn decision(testbed: &Testbed, name: &str) -> Result<(String, String)> {
    let requests = Api::<CertificateSigningRequest>::all(testbed.cluster().client());
    wait_for(&format!("a decision about {name}"), SOON, || {
        let status = testbed.run(requests.get(name))?.status;
        let conditions = status
            .and_then(|status| status.conditions)
            .unwrap_or_default();
        Ok(conditions
            .into_iter()
            .find(|condition| ["Approved", "Denied"].contains(&condition.type_.as_str()))
            .map(|condition| (condition.type_, condition.message.unwrap_or_default())))
    })
}

fn is_issued(testbed: &Testbed, name: &str) -> Result<bool> {
    let requests = Api::<CertificateSigningRequest>::all(testbed.cluster().client());
    let status = testbed.run(requests.get(name))?.status;
    Ok(status.and_then(|status| status.certificate).is_some())
}

fn approved(testbed: &Testbed, name: &str, word: &str) -> Result<()> {
    let (kind, why) = decision(testbed, name)?;
    ensure!(
        kind == "Approved" && why.contains(word),
        "{name}: {kind}: {why}"
    );
    wait_for(&format!("the certificate of {name}"), SOON, || {
        is_issued(testbed, name)
    })
}

fn denied(testbed: &Testbed, name: &str, word: &str) -> Result<()> {
    let (kind, why) = decision(testbed, name)?;
    ensure!(
        kind == "Denied" && why.contains(word),
        "{name}: {kind}: {why}"
    );
    ensure!(!is_issued(testbed, name)?, "{name} was denied and issued");
    wait_for("the event of the denial", SOON, || {
        let events = testbed.cluster().events("default")?;
        Ok(events.iter().any(|event| {
            event.involved_object.name.as_deref() == Some(name)
                && event.reason.as_deref() == Some("CertificateRequestDenied")
                && event
                    .message
                    .as_deref()
                    .is_some_and(|message| message.contains(word))
        }))
    })
}

#[test]
fn only_the_clusters_own_instances_get_a_nodes_certificate() -> Result<()> {
    let (testbed, mut tool) = begin()?;
    let ours = lone_instance(
        testbed,
        &Group::new("ours").sizes(0, 3, 1).discovered_by("demo"),
    )?;
    let theirs = lone_instance(testbed, &Group::new("theirs").sizes(0, 3, 1))?;
    let bindings = Api::<ClusterRoleBinding>::all(testbed.cluster().client());
    let binding = "kubeadm:node-autoapprove-bootstrap";
    ensure!(testbed.run(bindings.get_opt(binding))?.is_some());
    let approver = approver(testbed, &tool, "approver", &[])?;
    ensure!(
        testbed.run(bindings.get_opt(binding))?.is_none(),
        "approval goes on by itself"
    );
    let renewal = "kubeadm:node-autoapprove-certificate-rotation";
    ensure!(
        testbed.run(bindings.get_opt(renewal))?.is_some(),
        "nodes cannot renew"
    );

    let bearer_of_ours = bearer(testbed, &mut tool, OUR_GROUPS)?;
    ask(
        testbed,
        &bearer_of_ours,
        &client_request("ours", &ours.host_name),
    )?;
    approved(testbed, "ours", &ours.id)?;
    ask(
        testbed,
        &bearer_of_ours,
        &client_request("nobody", "ip-10-9-9-9.ec2.internal"),
    )?;
    denied(testbed, "nobody", "there is no instance")?;
    ask(
        testbed,
        &bearer_of_ours,
        &client_request("theirs", &theirs.host_name),
    )?;
    denied(testbed, "theirs", "in no group of this cluster")?;
    let names = [SanType::DnsName("kubernetes.default".try_into()?)];
    let with_names = Asked {
        names: &names,
        ..client_request("names", &ours.host_name)
    };
    ask(testbed, &bearer_of_ours, &with_names)?;
    denied(testbed, "names", "alternative names")?;

    // A token that somebody made by hand is not Windlass's to judge.
    let default_group = "system:bootstrappers:kubeadm:default-node-token";
    let by_hand = bearer(testbed, &mut tool, default_group)?;
    ask(
        testbed,
        &by_hand,
        &client_request("by-hand", &ours.host_name),
    )?;
    wait_for("it to be looked at", SOON, || {
        Ok(approver.log().lines().any(|line| line.contains("by-hand")))
    })?;
    let requests = Api::<CertificateSigningRequest>::all(testbed.cluster().client());
    let status = testbed
        .run(requests.get("by-hand"))?
        .status
        .unwrap_or_default();
    ensure!(status.conditions.is_none(), "{:?}", status.conditions);
    // Nothing is granted to the approver in vain.
    check_exactly(&granted(&[Actor::CsrApprover]), &called(&approver.calls))?;
    eprintln!("{}", check_what_was_said(testbed, tool.secrets())?);
    Ok(())
}

#[test]
fn a_second_join_and_a_late_one_are_denied_and_an_operator_can_let_back() -> Result<()> {
    let began = Timestamp::now();
    let (testbed, mut tool) = begin()?;
    let ours = lone_instance(
        testbed,
        &Group::new("ours").sizes(0, 3, 1).discovered_by("demo"),
    )?;
    let bearer = bearer(testbed, &mut tool, OUR_GROUPS)?;
    let mut first = approver(testbed, &tool, "approver-1", &[])?;
    ask(testbed, &bearer, &client_request("first", &ours.host_name))?;
    approved(testbed, "first", &ours.id)?;
    // A node that does not work yet may try again; one that is ready has what it needs.
    set_node(testbed, &ours.host_name, "False")?;
    ask(testbed, &bearer, &client_request("again", &ours.host_name))?;
    approved(testbed, "again", &ours.id)?;
    set_node(testbed, &ours.host_name, "True")?;
    ask(testbed, &bearer, &client_request("second", &ours.host_name))?;
    denied(testbed, "second", "is ready")?;
    first.process.stop();
    first.check_granted()?;

    set_node(testbed, &ours.host_name, "Unknown")?;
    let second = approver(testbed, &tool, "approver-2", &["--boot-budget", "1s"])?;
    ask(testbed, &bearer, &client_request("late", &ours.host_name))?;
    denied(testbed, "late", &format!("csr-approver allow {}", ours.id))?;
    tool.run(&["csr-approver", "allow", "no-id"])?.expect(1)?;
    tool.run(&["csr-approver", "allow", &ours.id])?.expect(0)?;
    ask(testbed, &bearer, &client_request("back", &ours.host_name))?;
    approved(testbed, "back", "let back by an operator")?;
    ask(testbed, &bearer, &client_request("twice", &ours.host_name))?;
    denied(testbed, "twice", "csr-approver allow")?;
    ensure!(!second.log().contains("panicked"), "{}", second.log());
    second.check_granted()?;
    let rendered = apply_component(testbed, &tool, "csr-approver")?;
    // Admission asks for the right to approve for a signer; there is no request of its own for it.
    let of_admission = ["approve certificates.k8s.io/signers"];
    let rights = rights_of(&rendered);
    check_rights(
        testbed,
        began,
        "windlass-csr-approver",
        &rights,
        &of_admission,
    )?;
    eprintln!("{}", check_what_was_said(testbed, tool.secrets())?);
    Ok(())
}

/// A Node with this status of its condition Ready.
fn set_node(testbed: &Testbed, name: &str, ready: &str) -> Result<()> {
    let cluster = testbed.cluster();
    cluster.apply_object(&json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
    }))?;
    let nodes = Api::<k8s_openapi::api::core::v1::Node>::all(cluster.client());
    let condition = json!({
        "type": "Ready", "status": ready, "reason": "Test", "message": "",
        "lastHeartbeatTime": null, "lastTransitionTime": null,
    });
    let patch = json!({"status": {"conditions": [condition]}});
    testbed.run(nodes.patch_status(
        name,
        &kube::api::PatchParams::default(),
        &kube::api::Patch::Strategic(&patch),
    ))?;
    Ok(())
}

#[test]
fn a_serving_certificate_has_the_names_that_ec2_reports() -> Result<()> {
    let (testbed, tool) = begin()?;
    let ours = lone_instance(
        testbed,
        &Group::new("ours").sizes(0, 3, 1).discovered_by("demo"),
    )?;
    let approver = approver(testbed, &tool, "approver-serving", &[])?;
    let as_node = client_as(
        testbed,
        &json!({
            "token": "admin-token",
            "as": format!("system:node:{}", ours.host_name),
            "as-groups": ["system:nodes", "system:authenticated"],
        }),
    )?;
    let dns = |name: &str| Ok::<_, anyhow::Error>(SanType::DnsName(name.try_into()?));
    let right = [
        dns(&ours.host_name)?,
        SanType::IpAddress(ours.address.parse()?),
    ];
    let ask_with = |name, names: &[SanType]| {
        let asked = Asked {
            name,
            node: &ours.host_name,
            signer: SERVING,
            names,
        };
        ask(testbed, &as_node, &asked)
    };
    ask_with("serving", &right)?;
    approved(testbed, "serving", &ours.id)?;
    ask_with("foreign-name", &[dns("kubernetes.default.svc")?])?;
    denied(testbed, "foreign-name", "kubernetes.default.svc")?;
    ask_with(
        "foreign-address",
        &[SanType::IpAddress("10.96.0.1".parse()?)],
    )?;
    denied(testbed, "foreign-address", "10.96.0.1")?;
    approver.check_granted()
}
