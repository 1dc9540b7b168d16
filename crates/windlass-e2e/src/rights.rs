//! Whether an account's rights are enough, and none is spare, by the API server's audit log.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use jiff::Timestamp;
use serde_json::Value;
use windlass_testbed::Testbed;

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
