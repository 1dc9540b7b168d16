//! What is called of AWS, against what is granted.
//!
//! Suites are processes of their own and run side by side, so no place sees the calls of all of them.
//! Instead every run of an actor, in whatever suite, is held to its policies at its end: it may call
//! nothing that they do not grant ([`check_granted`]). That nothing is granted in vain is asserted
//! where an actor does all that it ever does ([`check_exactly`]): the autoscaler in `aws`, the worker
//! node in `join_faults`, the rotator in `token`, the approver in `csr_approver`, the provisioner in
//! `provision`, the builder of images in `ami_faults`.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use windlass_provision::iam::{Actor, Feature};
use windlass_testbed::Proxy;

/// Statements for actions that nobody calls: AWS itself looks at their permission when another one is
/// called.
const IMPLIED: [&str; 10] = [
    "DecryptJoinCredential",
    "EncryptJoinCredential",
    "EncryptJoinParameter",
    "LaunchByTemplates",
    "LaunchFleets",
    "PassBuilderRole",
    "PassNodeRole",
    "PassRoleOfBuilder",
    "TagNewKey",
    "TagWhatIsMade",
];
/// Actions that everybody may call.
const FREE: [&str; 1] = ["GetCallerIdentity"];

/// The actions that these features grant, as far as they are called by name.
pub fn granted_for(features: &[Feature]) -> BTreeSet<String> {
    features
        .iter()
        .flat_map(|feature| feature.grants())
        .filter(|grant| !IMPLIED.contains(&grant.sid))
        .flat_map(|grant| grant.actions)
        .filter_map(|action| action.split(':').nth(1))
        .map(ToOwned::to_owned)
        .collect()
}

/// The actions that the actors' policies grant, as far as they are called by name.
pub fn granted(actors: &[Actor]) -> BTreeSet<String> {
    let features: Vec<Feature> = actors.iter().flat_map(|actor| actor.features()).collect();
    granted_for(&features)
}

/// The actions of AWS that were called through a proxy, by their names in policies.
pub fn called(proxy: &Proxy) -> BTreeSet<String> {
    let requests = proxy.requests().into_iter();
    requests
        .map(|request| match request.action {
            Some(action) => action,
            // EKS has paths instead.
            None if request.path.contains("/node-groups/") => "DescribeNodegroup".to_owned(),
            None => format!("{} {}", request.method, request.path),
        })
        .filter(|action| !FREE.contains(&action.as_str()))
        .collect()
}

/// Fails if anything was called that the actors' policies do not grant.
pub fn check_granted(actors: &[Actor], called: &BTreeSet<String>) -> Result<()> {
    let granted = granted(actors);
    let strange: Vec<&String> = called.difference(&granted).collect();
    ensure!(
        strange.is_empty(),
        "called and not granted to {actors:?}: {strange:?}"
    );
    Ok(())
}

/// Fails unless what was called is what is granted, no more and no less.
pub fn check_exactly(granted: &BTreeSet<String>, called: &BTreeSet<String>) -> Result<()> {
    eprintln!("called: {called:?}");
    ensure!(
        called == granted,
        "granted and never called: {:?}; called and not granted: {:?}",
        granted.difference(called).collect::<Vec<_>>(),
        called.difference(granted).collect::<Vec<_>>()
    );
    Ok(())
}
