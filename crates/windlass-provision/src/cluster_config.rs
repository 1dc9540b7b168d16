//! The one configuration file of a cluster: `kind: Cluster`.
//!
//! Provisioning, user data, token rotation, manifests and checks all read it, so that no value is
//! typed twice. [`ClusterConfig::read`] gives a configuration that has been checked as a whole:
//! who holds one need not ask again whether a name, a label or a time is valid.
//!
//! `examples/cluster.yaml` shows every field.

mod ami;
mod check;
mod groups;
mod schema;
mod security_group;
mod values;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use ami::{
    Ami, AmiPackages, AmiSource, Architecture, Builder, ContainerImages, Download, ImageArchive,
    ImageCopy, KubernetesVersion, PackagePin, Publish, Repository, RepositoryKey, SourceReference,
};
pub use groups::ResolvedGroup;
pub use schema::{
    Autoscaler, CloudProvider, Compat, Coordination, Credentials, CredentialsSource, Defaults,
    Group, Image, ImageReference, Instances, Join, JoinMode, LifecycleHook, Monitoring, OnFailure,
    RootVolume, Spec, Token,
};
pub use security_group::{ITSELF, Ingress, NodeSecurityGroup, PortRange};
pub use values::{Days, GoDuration, NodeTaint, Percent, VolumeSize};

/// `apiVersion` of the file.
pub const API_VERSION: &str = "windlass.dev/v1alpha1";
/// `kind` of the file.
pub const KIND: &str = "Cluster";

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterConfig {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND`].
    pub kind: String,
    /// What the cluster is.
    pub spec: Spec,
}

/// One thing that is wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The field, such as `spec.groups[1].max`.
    pub path: String,
    /// What was found, what was expected and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

/// Why a file is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterConfigError {
    /// It is no YAML, or a field has another shape than it must have.
    #[error("cannot read `{file}`{}: {problem}", at(*.line))]
    Shape {
        /// The file.
        file: String,
        /// Its line, from 1, where that is known.
        line: Option<u64>,
        /// The field and what is wrong with it.
        problem: Problem,
    },
    /// Every field has its shape, but what they say cannot be.
    #[error("`{file}` is not a valid cluster:{}", list(.problems))]
    Invalid {
        /// The file.
        file: String,
        /// All that is wrong.
        problems: Vec<Problem>,
    },
}

fn at(line: Option<u64>) -> String {
    line.map(|line| format!(", line {line}"))
        .unwrap_or_default()
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    format!("\n  {}", lines.join("\n  "))
}

impl ClusterConfig {
    /// Reads and checks a file's text; `file` is its name for messages.
    ///
    /// # Errors
    ///
    /// For a wrong shape the first field; for values that cannot be, all of them.
    pub fn read(file: &str, text: &str) -> Result<Self, ClusterConfigError> {
        let config = shape(file, text)?;
        let problems = check::check(&config);
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ClusterConfigError::Invalid {
                file: file.to_owned(),
                problems,
            })
        }
    }

    /// Name of the parameter that the join credential is published in.
    pub fn join_parameter(&self) -> String {
        self.spec
            .token
            .parameter
            .clone()
            .unwrap_or_else(|| format!("/windlass/{}/join", self.spec.cluster))
    }

    /// Key that encrypts the join credential: alias, id or ARN. None for the account's own.
    pub fn join_key(&self) -> Option<String> {
        let Token {
            kms_key,
            create_key,
            ..
        } = &self.spec.token;
        if *create_key {
            return Some(join_key_alias(&self.spec.cluster));
        }
        kms_key.clone()
    }

    /// Keys of the tags by which the autoscaler discovers the groups.
    pub fn discovery_tags(&self) -> [String; 2] {
        [
            "k8s.io/cluster-autoscaler/enabled".to_owned(),
            format!("k8s.io/cluster-autoscaler/{}", self.spec.cluster),
        ]
    }
}

/// Alias of the key that `spec.token.createKey` has made.
pub(crate) fn join_key_alias(cluster: &str) -> String {
    format!("alias/{cluster}-windlass-join")
}

/// The file's fields, not yet checked against each other.
fn shape(file: &str, text: &str) -> Result<ClusterConfig, ClusterConfigError> {
    // Which kind it is comes first: to say that a Deployment has no field `endpoint` helps nobody.
    let wrong_shape = |line, path: &str, message: String| ClusterConfigError::Shape {
        file: file.to_owned(),
        line,
        problem: Problem {
            path: path.to_owned(),
            message,
        },
    };
    let value: serde_json::Value = serde_saphyr::from_str(text).map_err(|error| {
        wrong_shape(
            error.location().map(|location| location.line()),
            ".",
            error.without_snippet().to_string(),
        )
    })?;
    for (field, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        let found = value.get(field).and_then(serde_json::Value::as_str);
        if found != Some(expected) {
            let found = found.map_or_else(|| "nothing".to_owned(), |found| format!("`{found}`"));
            return Err(wrong_shape(
                None,
                field,
                format!("found {found}, expected `{expected}` (see examples/cluster.yaml)"),
            ));
        }
    }
    let mut path = String::new();
    let read = serde_saphyr::with_deserializer_from_str(text, |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            path = error.path().to_string();
            error.into_inner()
        })
    });
    read.map_err(|error| {
        wrong_shape(
            error.location().map(|location| location.line()),
            &path,
            error.without_snippet().to_string(),
        )
    })
}

#[cfg(test)]
mod tests;
