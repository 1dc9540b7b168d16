//! Whether an account's rights are enough, and none is spare, by the API server's audit log.

use std::collections::BTreeSet;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use windlass_testbed::{Testbed, wait_for};

/// Time for one call on a busy machine.
const SOON: Duration = Duration::from_mins(1);

/// The rights of the roles among objects, each as `verb group/resource`.
pub fn rights_of(objects: &[Value]) -> BTreeSet<String> {
    let words = |rule: &Value, field: &str| -> Vec<String> {
        let words = rule[field].as_array().into_iter().flatten();
        words.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in objects
        .iter()
        .filter_map(|object| object["rules"].as_array())
        .flatten()
    {
        for group in words(rule, "apiGroups") {
            for resource in words(rule, "resources") {
                for verb in words(rule, "verbs") {
                    rights.insert(format!("{verb} {group}/{resource}"));
                }
            }
        }
    }
    rights
}

/// Waits until the API server's authorizer knows the bindings among objects that were just applied:
/// until then their accounts are refused, which [`check_rights`] would see. One right of each role is
/// asked for, in the account's name and not by it.
pub fn wait_until_granted(testbed: &Testbed, objects: &[Value]) -> Result<()> {
    let reviews = Api::<SubjectAccessReview>::all(testbed.cluster().client());
    for review in objects.iter().filter_map(|object| review(object, objects)) {
        let review: SubjectAccessReview = serde_json::from_value(review)?;
        wait_for("a right to be granted", SOON, || {
            let parameters = PostParams::default();
            let created = reviews.create(&parameters, &review);
            let status = testbed.run(created)?.status;
            Ok(status.is_some_and(|status| status.allowed))
        })
        .with_context(|| format!("{:?}", review.spec))?;
    }
    Ok(())
}

/// What asks whether the account of a binding has the first right of its role.
fn review(binding: &Value, objects: &[Value]) -> Option<Value> {
    let role = objects.iter().find(|object| {
        let namespace = &object["metadata"]["namespace"];
        object["kind"] == binding["roleRef"]["kind"]
            && object["metadata"]["name"] == binding["roleRef"]["name"]
            && (namespace.is_null() || *namespace == binding["metadata"]["namespace"])
    })?;
    let first = &role["rules"][0];
    let (resource, subresource) = match first["resources"][0].as_str()?.split_once('/') {
        Some((resource, subresource)) => (resource, subresource),
        None => (first["resources"][0].as_str()?, ""),
    };
    let subject = &binding["subjects"][0];
    let (namespace, name) = (subject["namespace"].as_str()?, subject["name"].as_str()?);
    Some(json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {
            "user": format!("system:serviceaccount:{namespace}:{name}"),
            "resourceAttributes": {
                "namespace": binding["metadata"]["namespace"],
                "group": first["apiGroups"][0],
                "resource": resource,
                "subresource": subresource,
                "name": first["resourceNames"][0],
                "verb": first["verbs"][0],
            },
        },
    }))
}

/// Fails unless the account, one of `kube-system`, has used every right since then, and asked for
/// nothing else. `excepted` are rights that the case gives no sure cause to use.
pub fn check_rights(
    testbed: &Testbed,
    since: Timestamp,
    account: &str,
    granted: &BTreeSet<String>,
    excepted: &[&str],
) -> Result<()> {
    let whole_name = format!("system:serviceaccount:kube-system:{account}");
    let used = testbed.rights_used(since, &whole_name)?;
    ensure!(
        used.forbidden.is_empty(),
        "{account} was refused {:#?}",
        used.forbidden
    );
    let spare: Vec<&String> = granted
        .difference(&used.allowed)
        .filter(|right| !excepted.contains(&right.as_str()))
        .collect();
    ensure!(
        spare.is_empty(),
        "granted to {account} and not used: {spare:#?}; used: {:#?}",
        used.allowed
    );
    Ok(())
}
