//! What runs in pods where kwok plays the kubelet: their containers' own commands, in a machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt as _;
use windlass_testbed::{Process, Testbed};

use crate::Machine;
use crate::credential::service_account_token;

/// Where a pod finds its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Starts what the only container of a pod on the host's network runs, as its kubelet would: the
/// binary, which is the image's entry point, with the arguments and the variables that the API server
/// has, and with the token of its service account. Its user and its other restrictions are not set.
pub fn run_pod(testbed: &Testbed, machine: &Machine, pod: &Pod) -> Result<Process> {
    let name = pod.name_any();
    let spec = pod.spec.as_ref().context("a pod has a spec")?;
    let [container] = &spec.containers[..] else {
        anyhow::bail!("{name} has {} containers", spec.containers.len());
    };
    let Container {
        command, args, env, ..
    } = container;
    ensure!(command.is_none(), "{name} has a command: {command:?}");
    ensure!(
        spec.host_network == Some(true),
        "{name} is not on its host's network"
    );
    let account = spec.service_account_name.as_deref().unwrap_or("default");
    let namespace = pod.namespace().unwrap_or_default();
    let directory = service_account(testbed, &namespace, account)?;
    let url = testbed.api_url();
    let (host, port) = url
        .trim_start_matches("https://")
        .rsplit_once(':')
        .context("the API server has a port")?;
    let mut variables = BTreeMap::from([
        ("KUBERNETES_SERVICE_HOST".to_owned(), host.to_owned()),
        ("KUBERNETES_SERVICE_PORT".to_owned(), port.to_owned()),
        ("HOSTNAME".to_owned(), name.clone()),
    ]);
    for variable in env.iter().flatten() {
        let value = variable.value.clone();
        let value =
            value.with_context(|| format!("{name}: {} is no plain value", variable.name))?;
        variables.insert(variable.name.clone(), value);
    }
    let variables: Vec<(String, String)> = variables.into_iter().collect();
    let arguments = args.clone().unwrap_or_default();
    machine.spawn(
        &name,
        ("windlass", &arguments),
        &variables,
        (&directory, SERVICE_ACCOUNT),
    )
}

/// The files that a pod has of its service account.
fn service_account(testbed: &Testbed, namespace: &str, name: &str) -> Result<PathBuf> {
    let token = service_account_token(testbed, namespace, name)?;
    let authority = testbed
        .cluster()
        .config_map(namespace, "kube-root-ca.crt")?
        .and_then(|map| map.data?.remove("ca.crt"))
        .context("ConfigMap kube-root-ca.crt, which every namespace has")?;
    let directory = testbed
        .directory()
        .join(format!("account-{namespace}-{name}"));
    fs::create_dir_all(&directory)?;
    for (file, text) in [
        ("token", token.as_str()),
        ("ca.crt", &authority),
        ("namespace", namespace),
    ] {
        fs::write(directory.join(file), text)?;
    }
    Ok(directory)
}
