//! What is applied to the cluster: the autoscaler, the token rotator, the approver of certificate
//! requests, and what watches them.
//!
//! Objects are values that are made from a [`ClusterConfig`] and written as YAML; [`fix`] mends
//! manifests that others wrote.

pub mod approver;
pub mod autoscaler;
pub mod bootstrap;
pub mod fix;
mod forms;
mod grants;
pub mod monitoring;
pub mod rbac;
pub mod rotator;
mod upstream;
pub mod verify;
pub mod yaml;

use windlass_config::Config;

pub use forms::{File, chart_cluster_role, deploy_files, helm_values, kustomize, rotator_command};
pub use yaml::Manifest;

use crate::cluster_config::ClusterConfig;

/// Port of metrics and health.
pub const PORT: u16 = 8085;

/// A part of Windlass that runs in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// `windlass run`.
    Autoscaler,
    /// `windlass token rotate`.
    TokenRotator,
    /// `windlass csr-approver`.
    CsrApprover,
    /// The rights of joining nodes.
    BootstrapRbac,
    /// The rights of `windlass verify`.
    Verify,
}

/// The flags of the file as the autoscaler reads them. A checked file has only valid ones.
pub fn parsed_flags(config: &ClusterConfig) -> Config {
    Config::parse(&config.spec.autoscaler.flags)
        .map(|(config, _)| config)
        .unwrap_or_default()
}

/// What a configuration asks for where nothing is named.
pub fn usual_components(config: &ClusterConfig) -> Vec<Component> {
    let mut components = vec![Component::Autoscaler, Component::TokenRotator];
    if config.spec.csr.verify {
        components.push(Component::CsrApprover);
    }
    components
}

/// The rights that the Go autoscaler's chart grants beyond those that Windlass uses, for the account of
/// the autoscaler.
pub fn upstream_rights(config: &ClusterConfig) -> Vec<Manifest> {
    rbac::roles_of(
        autoscaler::NAME,
        "cluster-autoscaler-upstream",
        &config.spec.autoscaler.namespace,
        &autoscaler::labels(),
        &upstream::upstream_only(),
    )
}

/// The rights of `windlass run` with these flags, in roles of that name.
///
/// # Errors
///
/// When the flags are not valid.
pub fn rights_of_run(
    account: &str,
    role: &str,
    flags: &[String],
) -> Result<Vec<Manifest>, Vec<windlass_config::FlagError>> {
    let (config, _) = Config::parse(flags)?;
    let namespace = config.process.namespace.as_str();
    let rights = rbac::rights(&config);
    let mut manifests = rbac::roles_of(account, role, namespace, &autoscaler::labels(), &rights);
    if config.process.token_rotation {
        manifests.extend(rotator::within_the_autoscaler(namespace));
    }
    Ok(manifests)
}

/// The objects of some components, in the order in which they can be made.
pub fn manifests(config: &ClusterConfig, components: &[Component]) -> Vec<Manifest> {
    let mut manifests = Vec::new();
    if components.contains(&Component::Autoscaler) {
        manifests.extend(autoscaler::manifests(config, &parsed_flags(config)));
        manifests.extend(monitoring::manifests(config));
    }
    if components.contains(&Component::TokenRotator) {
        manifests.extend(rotator::manifests(config));
    }
    if components.contains(&Component::CsrApprover) {
        manifests.extend(approver::manifests(config));
    }
    if components.contains(&Component::BootstrapRbac) {
        manifests.extend(bootstrap::manifests(config));
    }
    if components.contains(&Component::Verify) {
        manifests.extend(verify::manifests(config));
    }
    manifests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_has_requests_verified_has_their_approver() {
        let file = |more: &str| {
            let text = format!(
                "apiVersion: windlass.dev/v1alpha1\nkind: Cluster\nspec:\n  cluster: prod\n  \
                 region: eu-west-1\n  endpoint: api:443\n  kubernetes: v1.36.3\n  \
                 securityGroups: [sg-1]\n{more}"
            );
            ClusterConfig::read("cluster.yaml", &text).unwrap()
        };
        let has = |config: &ClusterConfig| {
            let components = usual_components(config);
            manifests(config, &components)
                .iter()
                .any(|it| it.object["metadata"]["name"] == "windlass-csr-approver")
        };
        assert!(!has(&file("")));
        assert!(has(&file("  csr: {verify: true}\n")));
        // Nobody else approves then.
        let approves_all = |config: &ClusterConfig| {
            manifests(config, &[Component::BootstrapRbac])
                .iter()
                .any(|it| it.name() == "kubeadm:node-autoapprove-bootstrap")
        };
        assert!(approves_all(&file("")));
        assert!(!approves_all(&file("  csr: {verify: true}\n")));
    }
}
