//! What kubeadm makes in a control plane for the nodes that are to join it.

use serde_json::Value;
use windlass_kube::Api;
use windlass_provision::cluster_config::ClusterConfig;
use windlass_provision::token::DEFAULT_NODE_GROUP;

use super::{Findings, failed};
use crate::json::{items, text};

/// What a join reads.
const CONFIG_MAPS: [&str; 2] = ["kubeadm-config", "kubelet-config"];

pub(super) async fn look(api: &Api, config: &ClusterConfig, findings: &mut Findings) {
    for name in CONFIG_MAPS {
        let path = format!("/api/v1/namespaces/kube-system/configmaps/{name}");
        let found: Result<Value, _> = api.get(&path).await;
        match found {
            Ok(_) => {}
            Err(error) if error.is_not_found() => findings.fail(
                format!("ConfigMap kube-system/{name} is not there, which a join reads"),
                "`kubeadm init phase upload-config all`",
            ),
            Err(error) => return failed(findings, &format!("ConfigMap {name}"), &error),
        }
    }
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let bindings: Value = match api.get(path).await {
        Ok(bindings) => bindings,
        Err(error) => return failed(findings, "ClusterRoleBindings", &error),
    };
    let missing = missing(&bindings, config.spec.csr.verify);
    if missing.is_empty() {
        findings.ok("joining nodes may ask for their certificates");
    } else {
        findings.fail(
            format!("joining nodes lack ClusterRoles: {}", missing.join(", ")),
            "`windlass manifests --component bootstrap-rbac | kubectl apply --server-side -f -`",
        );
    }
}

/// The roles that no binding gives to those who need them, each with whom it is for. Requests need
/// no approval by role where the approver looks at them.
fn missing(bindings: &Value, is_verified: bool) -> Vec<String> {
    const APPROVAL: &str = "system:certificates.k8s.io:certificatesigningrequests:nodeclient";
    const RENEWAL: &str = "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient";
    let needed = [
        ("system:node-bootstrapper", DEFAULT_NODE_GROUP),
        (APPROVAL, DEFAULT_NODE_GROUP),
        (RENEWAL, "system:nodes"),
    ];
    needed
        .into_iter()
        .filter(|(role, _)| !(is_verified && *role == APPROVAL))
        .filter(|(role, group)| {
            !items(bindings).any(|binding| {
                let subjects = binding["subjects"].as_array();
                text(binding, "/roleRef/name") == *role
                    && subjects
                        .into_iter()
                        .flatten()
                        .any(|it| it["name"] == *group)
            })
        })
        .map(|(role, group)| format!("{role} for {group}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use windlass_provision::manifests::{Component, manifests};

    use super::*;

    #[test]
    fn what_bootstrap_rbac_renders_is_all_that_is_looked_for() {
        let config = |more: &str| {
            let text = format!(
                "apiVersion: windlass.dev/v1alpha1\nkind: Cluster\nspec:\n  cluster: prod\n  \
                 region: eu-west-1\n  endpoint: api:443\n  kubernetes: v1.36.3\n  \
                 securityGroups: [sg-1]\n{more}"
            );
            ClusterConfig::read("cluster.yaml", &text).unwrap()
        };
        let rendered = |config: &ClusterConfig| {
            let objects = manifests(config, &[Component::BootstrapRbac]);
            let objects: Vec<Value> = objects.into_iter().map(|it| it.object).collect();
            serde_json::json!({ "items": objects })
        };
        let all = rendered(&config(""));
        assert!(missing(&all, false).is_empty());
        let verified = rendered(&config("  csr: {verify: true}\n"));
        assert!(missing(&verified, true).is_empty());
        assert_eq!(missing(&verified, false).len(), 1);
        assert_eq!(missing(&Value::Null, false).len(), 3);
    }
}
