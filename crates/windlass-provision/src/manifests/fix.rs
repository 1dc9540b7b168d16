//! Mends a manifest of the Go autoscaler's, such as the one of the how-to of 2019: names each
//! fault with its line, and writes the whole anew with the user's own settings kept.

mod lines;
mod workload;

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};
use windlass_config::Config;

use super::yaml::{self, Manifest};
use super::{autoscaler, rbac};
use crate::cluster_config::ClusterConfig;
use lines::{Lined, line_of};

/// Something in a manifest that does not work, or not any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Line of the file, from 1.
    pub line: u64,
    /// What is wrong, and what comes of it.
    pub fault: String,
    /// What was done about it.
    pub fix: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "line {}: {}: {}",
            self.line, self.fault, self.fix
        )
    }
}

/// A mended manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Fixed {
    /// What was wrong, by line.
    pub faults: Vec<Fault>,
    /// The objects, mended.
    pub manifests: Vec<Manifest>,
}

impl Fixed {
    /// The objects as YAML.
    pub fn to_yaml(&self) -> String {
        yaml::stream(&self.manifests)
    }
}

/// Why a manifest cannot be mended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FixError {
    /// It is no YAML.
    #[error("line {line}: {message}")]
    Syntax {
        /// Line of the file.
        line: u64,
        /// What the reader says.
        message: String,
    },
    /// There is no autoscaler in it.
    #[error(
        "there is no Deployment of the cluster-autoscaler in it: expected a container whose image \
         or command names cluster-autoscaler"
    )]
    NoAutoscaler,
    /// Its flags are not the autoscaler's.
    #[error("line {line}: {message}")]
    Flags {
        /// Line of the container.
        line: u64,
        /// What is wrong with them.
        message: String,
    },
}

/// Collects faults while objects are mended.
#[derive(Default)]
pub(super) struct Faults(BTreeSet<Fault>);

impl Faults {
    pub(super) fn add(&mut self, line: u64, fault: impl Into<String>, fix: impl Into<String>) {
        self.0.insert(Fault {
            line,
            fault: fault.into(),
            fix: fix.into(),
        });
    }
}

/// Versions of APIs that are gone, and what serves their kinds now.
const GONE: [(&str, &str); 6] = [
    ("extensions/v1beta1", "apps/v1"),
    ("apps/v1beta1", "apps/v1"),
    ("apps/v1beta2", "apps/v1"),
    (
        "rbac.authorization.k8s.io/v1beta1",
        "rbac.authorization.k8s.io/v1",
    ),
    (
        "rbac.authorization.k8s.io/v1alpha1",
        "rbac.authorization.k8s.io/v1",
    ),
    ("policy/v1beta1", "policy/v1"),
];

/// Names each fault of a manifest and mends it. Image, region, cluster and credentials come from
/// the configuration file, which is where they are written once.
///
/// # Errors
///
/// When it is no YAML, has no autoscaler, or its flags are none of the autoscaler's.
pub fn fix(text: &str, config: &ClusterConfig) -> Result<Fixed, FixError> {
    let mut documents =
        lines::read(text).map_err(|(line, message)| FixError::Syntax { line, message })?;
    let mut faults = Faults::default();
    for document in &documents {
        hidden_keys(document, &mut faults);
    }
    for document in &mut documents {
        api_version(document, &mut faults);
    }
    let deployment = documents
        .iter_mut()
        .find(|document| workload::container_index(&document.value).is_some())
        .ok_or(FixError::NoAutoscaler)?;
    let flags = workload::mend(deployment, config, &mut faults)?;
    let namespace = text_at(&deployment.value, "/metadata/namespace").unwrap_or("default");
    let (namespace, name) = (
        namespace.to_owned(),
        text_at(&deployment.value, "/metadata/name")
            .unwrap_or(autoscaler::NAME)
            .to_owned(),
    );
    let selector = deployment.value["spec"]["selector"].clone();
    let account = text_at(&deployment.value, "/spec/template/spec/serviceAccountName")
        .unwrap_or("default")
        .to_owned();

    let bound = bound_roles(&documents, &account);
    let mut has_budget = false;
    for document in &mut documents {
        has_budget |= document.value["kind"] == "PodDisruptionBudget";
        if bound.contains(&role_key(&document.value)) {
            role(document, &flags, &mut faults);
        }
    }
    let names = [&account, &name, &namespace].map(String::as_str);
    let mut added = missing_roles(&documents, names, &flags, &mut faults);
    if let Some(role) = &config.spec.credentials.autoscaler_role_arn {
        added.extend(credentials(
            &mut documents,
            [&account, &namespace],
            role,
            &mut faults,
        ));
    }
    let mut manifests: Vec<Manifest> = documents
        .into_iter()
        .map(|document| Manifest::new(document.value))
        .chain(added)
        .collect();
    if !has_budget {
        faults.add(
            1,
            "no PodDisruptionBudget: a drain may take every replica at once",
            "one was added",
        );
        manifests.push(Manifest::new(json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": { "name": name, "namespace": namespace },
            "spec": { "maxUnavailable": 1, "selector": selector },
        })));
    }
    Ok(Fixed {
        faults: faults.0.into_iter().collect(),
        manifests,
    })
}

/// Whether an object binds a role to a service account.
fn binds(object: &Value, account: &str) -> bool {
    let mut subjects = object["subjects"].as_array().into_iter().flatten();
    subjects.any(|subject| subject["kind"] == "ServiceAccount" && subject["name"] == account)
}

/// Roles of a reach in which nothing at all is bound to the account.
fn missing_roles(
    documents: &[Lined],
    [account, name, namespace]: [&str; 3],
    flags: &Config,
    faults: &mut Faults,
) -> Vec<Manifest> {
    let rights = rbac::rights(flags);
    let all = rbac::roles_of(account, name, namespace, &autoscaler::labels(), &rights);
    let mut missing = Vec::new();
    for (role, binding) in [
        ("ClusterRole", "ClusterRoleBinding"),
        ("Role", "RoleBinding"),
    ] {
        let is_bound = documents
            .iter()
            .any(|document| document.value["kind"] == binding && binds(&document.value, account));
        if is_bound {
            continue;
        }
        let wanted = all
            .iter()
            .filter(|it| it.object["kind"] == role || it.object["kind"] == binding);
        let before = missing.len();
        missing.extend(wanted.cloned());
        if before < missing.len() {
            faults.add(
                1,
                format!("no {binding} of service account `{account}`: its calls are refused"),
                format!("a {role} and its binding were added"),
            );
        }
    }
    missing
}

/// The role in AWS that the service account stands for. Gives an account where there is none.
fn credentials(
    documents: &mut [Lined],
    [account, namespace]: [&str; 2],
    role: &str,
    faults: &mut Faults,
) -> Option<Manifest> {
    let annotations = json!({ autoscaler::ROLE_ARN: role });
    let found = documents.iter_mut().find(|document| {
        document.value["kind"] == "ServiceAccount" && document.value["metadata"]["name"] == account
    });
    let Some(document) = found else {
        faults.add(
            1,
            format!(
                "no ServiceAccount `{account}` with a role in AWS: it has no credentials there"
            ),
            "one was added",
        );
        return Some(Manifest::new(json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": { "name": account, "namespace": namespace, "annotations": annotations },
        })));
    };
    let metadata = &mut document.value["metadata"];
    if metadata["annotations"][autoscaler::ROLE_ARN] != role {
        match metadata["annotations"].as_object_mut() {
            Some(its) => {
                its.insert(autoscaler::ROLE_ARN.to_owned(), json!(role));
            }
            None => metadata["annotations"] = annotations,
        }
        faults.add(
            document.line("/metadata"),
            "the service account stands for no role in AWS, or another: it has no credentials there",
            format!("annotated with `{role}`"),
        );
    }
    None
}

fn text_at<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// Keys that appear twice, and what is in the part that the later one hides.
fn hidden_keys(document: &Lined, faults: &mut Faults) {
    for hidden in &document.hidden {
        let key = hidden.pointer.rsplit('/').next().unwrap_or_default();
        faults.add(
            hidden.line,
            format!(
                "`{key}` stands here and again in line {}: strict readers refuse the file, others \
                 keep the last in silence",
                hidden.last_line
            ),
            "the last is kept, as kubectl does",
        );
        if key == "volumes" {
            misplaced(&hidden.value, &hidden.pointer, &hidden.lines, faults);
        }
    }
    let volumes = "/spec/template/spec/volumes";
    if let Some(value) = document.value.pointer(volumes) {
        misplaced(value, volumes, &document.lines, faults);
    }
}

/// Fields of containers that were pasted into a volume.
fn misplaced(
    volumes: &Value,
    pointer: &str,
    lines: &std::collections::BTreeMap<String, u64>,
    faults: &mut Faults,
) {
    for (index, volume) in volumes.as_array().into_iter().flatten().enumerate() {
        for field in ["volumeMounts", "imagePullPolicy"] {
            if volume.get(field).is_some() {
                faults.add(
                    line_of(lines, &format!("{pointer}/{index}/{field}")),
                    format!("`{field}` is a field of containers, pasted a level too deep"),
                    "left out",
                );
            }
        }
    }
}

fn api_version(document: &mut Lined, faults: &mut Faults) {
    let Some(old) = text_at(&document.value, "/apiVersion") else {
        return;
    };
    if let Some((old, new)) = GONE.iter().find(|(gone, _)| *gone == old) {
        faults.add(
            document.line("/apiVersion"),
            format!("`{old}` is served no more"),
            format!("now `{new}`"),
        );
        document.value["apiVersion"] = json!(new);
    }
}

/// Kind and name of a role.
fn role_key(value: &Value) -> (String, String) {
    (
        text_at(value, "/kind").unwrap_or_default().to_owned(),
        text_at(value, "/metadata/name")
            .unwrap_or_default()
            .to_owned(),
    )
}

/// The roles that are bound to the autoscaler's service account.
fn bound_roles(documents: &[Lined], account: &str) -> BTreeSet<(String, String)> {
    documents
        .iter()
        .map(|document| &document.value)
        .filter(|value| binds(value, account))
        .map(|value| {
            let word = |field: &str| {
                value["roleRef"][field]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            (word("kind"), word("name"))
        })
        .collect()
}

/// Rights that were once needed and now give nothing, with why.
const UNNEEDED: [(&str, &str, &str); 5] = [
    (
        "extensions",
        "",
        "left the API group `extensions` in 1.16: the rule grants nothing",
    ),
    (
        "",
        "endpoints",
        "the lock of old versions; leases take its place",
    ),
    ("", "pods/status", "written by old versions only"),
    ("", "cronjobs", "nothing reads it"),
    ("batch", "cronjobs", "nothing reads it"),
];

/// Puts the rights that the flags need in place of those of a role, names the rules that grant
/// nothing and the rights that were missing, and keeps what else the user granted.
fn role(document: &mut Lined, flags: &Config, faults: &mut Faults) {
    let reach = if document.value["kind"] == "ClusterRole" {
        rbac::Reach::Cluster
    } else {
        rbac::Reach::Namespace
    };
    let needed: Vec<rbac::Right> = rbac::rights(flags)
        .into_iter()
        .filter(|right| right.reach == reach)
        .collect();
    let old: Vec<Value> = document.value["rules"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut kept = Vec::new();
    for (index, rule) in old.iter().enumerate() {
        for (group, resource) in pairs(rule) {
            let unneeded = UNNEEDED
                .iter()
                .find(|(in_group, of, _)| *in_group == group && (of.is_empty() || *of == resource));
            if let Some((_, of, why)) = unneeded {
                let field = if of.is_empty() {
                    "apiGroups"
                } else {
                    "resources"
                };
                let line = document.line(&format!("/rules/{index}/{field}"));
                faults.add(line, format!("`{resource}`: {why}"), "dropped");
            } else if !is_known(&group, &resource) {
                let mut own = rule.clone();
                own["apiGroups"] = json!([group]);
                own["resources"] = json!([resource]);
                kept.push(own);
            }
        }
    }
    for right in &needed {
        for resource in right.resources {
            let missing: Vec<&str> = right
                .verbs
                .iter()
                .copied()
                .filter(|verb| !grants(&old, right, resource, verb))
                .collect();
            if !missing.is_empty() {
                let what = if right.names.is_empty() {
                    (*resource).to_owned()
                } else {
                    format!("{resource} `{}`", right.names.join("`, `"))
                };
                let group = match right.api_group {
                    "" => "core",
                    group => group,
                };
                faults.add(
                    document.line("/rules"),
                    format!("{what} of {group}: no {}", missing.join(", ")),
                    format!("granted ({})", right.why.trim_end_matches('.')),
                );
            }
        }
    }
    let mut rules: Vec<Value> = needed.iter().map(rbac::rule).collect();
    rules.extend(kept);
    document.value["rules"] = json!(rules);
}

/// The API groups and resources of a rule.
fn pairs(rule: &Value) -> Vec<(String, String)> {
    let words = |field: &str| -> Vec<String> {
        rule[field]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let resources = words("resources");
    words("apiGroups")
        .iter()
        .flat_map(|group| {
            resources
                .iter()
                .map(move |resource| (group.clone(), resource.clone()))
        })
        .collect()
}

/// Whether some configuration needs it, so that the table and not the old rule decides.
fn is_known(group: &str, resource: &str) -> bool {
    let also = [
        ("events.k8s.io", "events"),
        ("apps", "deployments"),
        ("", "persistentvolumeclaims"),
    ];
    also.contains(&(group, resource))
        || rbac::every_right()
            .iter()
            .any(|right| right.api_group == group && right.resources.contains(&resource))
}

fn grants(rules: &[Value], right: &rbac::Right, resource: &str, verb: &str) -> bool {
    rules.iter().any(|rule| {
        let has = |field: &str, word: &str| {
            rule[field]
                .as_array()
                .is_some_and(|words| words.iter().any(|found| found == word || found == "*"))
        };
        let names = rule["resourceNames"].as_array();
        let covers_names = names.is_none_or(|names| {
            !right.names.is_empty()
                && right
                    .names
                    .iter()
                    .all(|name| names.iter().any(|found| found == name))
        });
        has("apiGroups", right.api_group)
            && has("resources", resource)
            && has("verbs", verb)
            && covers_names
    })
}

#[cfg(test)]
mod tests;
