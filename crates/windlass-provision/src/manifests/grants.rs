//! Roles of accounts that have the same rights whatever the flags are: rules, each with its use.

use serde_json::{Value, json};

use super::yaml::Manifest;

/// Rules of a role, and what each is for.
pub(super) type Rules = Vec<(Value, &'static str)>;

/// Who has the rights.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account<'a> {
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
}

/// A role with that metadata, and its binding to an account.
pub(super) fn granted(metadata: &Value, rules: &Rules, account: Account<'_>) -> [Manifest; 2] {
    let kind = match metadata.get("namespace") {
        Some(_) => "Role",
        None => "ClusterRole",
    };
    let values: Vec<&Value> = rules.iter().map(|(rule, _)| rule).collect();
    let role = Manifest::new(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": metadata,
        "rules": values,
    }));
    let with_reasons = rules
        .iter()
        .enumerate()
        .fold(role, |role, (index, (_, why))| {
            role.with_comment(format!("/rules/{index}"), *why)
        });
    let binding = Manifest::new(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": format!("{kind}Binding"),
        "metadata": metadata,
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": metadata["name"],
        },
        "subjects": [{
            "kind": "ServiceAccount", "name": account.name, "namespace": account.namespace,
        }],
    }));
    [with_reasons, binding]
}

/// What an account may do by a rule that [`granted`] takes.
pub(super) fn rule((group, resources): (&str, &[&str]), names: &[&str], verbs: &[&str]) -> Value {
    let mut rule = json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    rule
}

/// A fence in admission around what an account writes: the rights of RBAC cannot be bound to a type
/// of Secret, nor `create` to a name.
pub(super) fn fence(
    name: &str,
    accounts: &[Account<'_>],
    resource_rules: &Value,
    validations: &Value,
) -> [Manifest; 2] {
    let metadata = json!({ "name": name, "labels": { "app.kubernetes.io/name": name } });
    let is_account: Vec<String> = accounts
        .iter()
        .map(|account| {
            format!(
                "request.userInfo.username == 'system:serviceaccount:{}:{}'",
                account.namespace, account.name
            )
        })
        .collect();
    let policy = Manifest::new(json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata,
        "spec": {
            "failurePolicy": "Fail",
            "matchConditions": [{ "name": "account", "expression": is_account.join(" || ") }],
            "matchConstraints": { "resourceRules": resource_rules },
            "validations": validations,
        },
    }));
    let binding = Manifest::new(json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": metadata,
        "spec": { "policyName": name, "validationActions": ["Deny"] },
    }));
    [policy, binding]
}
