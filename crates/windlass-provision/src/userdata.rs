//! What a new instance runs to become a node: the launch template's user data.
//!
//! There is no secret in it, since whoever may describe the instance can read it. Everything that
//! an operator writes goes in through one quoting function.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use minijinja::{Environment, UndefinedBehavior, context};

use crate::pin::CaPin;

/// Longest user data that both EC2 and launch configurations take, in bytes before base64.
pub const MAX_LENGTH: usize = 16_383;
/// Length from which on little room is left.
pub const TIGHT_LENGTH: usize = 15_360;

/// Which script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reads the encrypted parameter, verifies the CA, joins with a configuration file.
    Script,
    /// The how-to's: reads the plain parameter, joins with flags.
    Legacy2019,
}

/// Who gives the node its cloud's properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloudProvider {
    /// A cloud controller manager in the cluster.
    External,
    /// Nobody.
    None,
}

/// What is done with an instance that did not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Its group is told to replace it.
    Unhealthy,
    /// It stays, to be looked at.
    Keep,
}

/// The launch's lifecycle hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleHook {
    /// Name of the Auto Scaling group.
    pub group: String,
    /// Name of the hook.
    pub hook: String,
}

/// What goes into user data.
#[derive(Clone, Debug)]
pub struct UserData {
    /// Which script.
    pub mode: Mode,
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the parameter to read.
    pub parameter: String,
    /// Name of the node group.
    pub node_group: String,
    /// `host:port` of the API server: for [`Mode::Legacy2019`], whose parameter names none.
    pub endpoint: String,
    /// Labels of the node, besides that of its group.
    pub labels: Vec<(String, String)>,
    /// Taints of the node: key, value, effect.
    pub taints: Vec<(String, String, String)>,
    /// Socket of the container runtime.
    pub cri_socket: String,
    /// Who initializes the node.
    pub cloud_provider: CloudProvider,
    /// CA pins that the instance is launched with: a second opinion on the parameter's.
    pub pins: Vec<CaPin>,
    /// The hook that is told how it went.
    pub lifecycle_hook: Option<LifecycleHook>,
    /// What happens without a hook when it went wrong.
    pub on_failure: OnFailure,
}

/// Why no user data is rendered.
#[derive(Debug, thiserror::Error)]
pub enum UserDataError {
    /// The kubelet may not set it.
    #[error(
        "label `{0}`: a kubelet may not set it on its own node; a controller must (labels under \
         kubernetes.io and k8s.io are reserved)"
    )]
    Label(String),
    /// No label key, value or taint.
    #[error("`{0}` is no valid label or taint")]
    Syntax(String),
    /// Longer than EC2 takes.
    #[error("the user data has {0} bytes, and EC2 takes {MAX_LENGTH}")]
    Length(usize),
    /// A name that a shell or kubeadm could read as something else.
    #[error("{what} `{text}` has a character that it must not have")]
    Text {
        /// What it is.
        what: &'static str,
        /// As given.
        text: String,
    },
    /// The template could not be filled in.
    #[error("cannot render the user data")]
    Template(#[from] minijinja::Error),
}

impl UserData {
    /// The script.
    ///
    /// # Errors
    ///
    /// When something in it would stop the node from joining, or it is too long.
    pub fn render(&self) -> Result<String, UserDataError> {
        self.validate()?;
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_filter("sq", |text: String| single_quoted(&text));
        let template = match self.mode {
            Mode::Script => include_str!("userdata/script.sh.j2"),
            Mode::Legacy2019 => include_str!("userdata/legacy-2019.sh.j2"),
        };
        let mut labels = vec![format!("windlass.dev/node-group={}", self.node_group)];
        labels.extend(
            self.labels
                .iter()
                .map(|(key, value)| format!("{key}={value}")),
        );
        let taints: Vec<serde_json::Value> = self
            .taints
            .iter()
            .map(|(key, value, effect)| {
                serde_json::json!({ "key": key, "value": value, "effect": effect })
            })
            .collect();
        let pins: Vec<String> = self.pins.iter().map(CaPin::to_string).collect();
        let hook = self.lifecycle_hook.as_ref();
        let mut text = environment.render_str(
            template,
            context! {
                cluster => &self.cluster,
                parameter => &self.parameter,
                node_group => &self.node_group,
                endpoint => &self.endpoint,
                cri_socket => &self.cri_socket,
                cloud_provider => match self.cloud_provider {
                    CloudProvider::External => "external",
                    CloudProvider::None => "none",
                },
                node_labels => labels.join(","),
                taints_json => serde_json::Value::from(taints).to_string(),
                own_pins => pins.join(" "),
                lifecycle_hook => hook.map_or("", |it| it.hook.as_str()),
                auto_scaling_group => hook.map_or("", |it| it.group.as_str()),
                on_failure => match self.on_failure {
                    OnFailure::Unhealthy => "unhealthy",
                    OnFailure::Keep => "keep",
                },
            },
        )?;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        fits(text)
    }

    fn validate(&self) -> Result<(), UserDataError> {
        let plain = |what, text: &str, more: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
            if text.chars().all(allowed) {
                Ok(())
            } else {
                Err(UserDataError::Text {
                    what,
                    text: text.to_owned(),
                })
            }
        };
        plain("cluster", &self.cluster, "-_.")?;
        plain("parameter", &self.parameter, "-_./")?;
        plain("endpoint", &self.endpoint, "-_.:[]")?;
        plain("CRI socket", &self.cri_socket, "-_./:")?;
        if let Some(hook) = &self.lifecycle_hook {
            plain("lifecycle hook", &hook.hook, "-_/")?;
            plain("Auto Scaling group", &hook.group, "-_.")?;
        }
        label(&self.node_group, "windlass.dev/node-group")?;
        for (key, value) in &self.labels {
            label(value, key)?;
            if !may_set(key) {
                return Err(UserDataError::Label(key.clone()));
            }
        }
        for (key, value, effect) in &self.taints {
            label(value, key)?;
            if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect.as_str()) {
                return Err(UserDataError::Syntax(format!("{key}={value}:{effect}")));
            }
        }
        Ok(())
    }
}

/// Holds key and value against the grammar of labels.
fn label(value: &str, key: &str) -> Result<(), UserDataError> {
    let word = |text: &str| {
        let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        text.len() <= 63
            && ends(text.bytes().next())
            && ends(text.bytes().last())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let name_is_valid = match key.split_once('/') {
        Some((prefix, name)) => {
            let domain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
            word(name) && !prefix.is_empty() && prefix.len() <= 253 && prefix.chars().all(domain)
        }
        None => word(key),
    };
    if name_is_valid && (value.is_empty() || word(value)) {
        Ok(())
    } else {
        Err(UserDataError::Syntax(format!("{key}={value}")))
    }
}

/// Whether a kubelet may set a label on its own node: it ends at its start over others.
///
/// Source: `k8s.io/kubernetes/staging/src/k8s.io/kubelet/pkg/apis/well_known_labels.go`.
fn may_set(key: &str) -> bool {
    const ALLOWED: [&str; 10] = [
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    ];
    let Some((prefix, _)) = key.split_once('/') else {
        return true;
    };
    let within = |domain: &str| {
        prefix == domain
            || prefix
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.'))
    };
    if !within("kubernetes.io") && !within("k8s.io") {
        return true;
    }
    ALLOWED.contains(&key)
        || ((within("kubelet.kubernetes.io") || within("node.kubernetes.io"))
            && !within("node-restriction.kubernetes.io"))
}

/// A word that a shell reads as this text and nothing else.
fn single_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn fits(text: String) -> Result<String, UserDataError> {
    if text.len() > MAX_LENGTH {
        return Err(UserDataError::Length(text.len()));
    }
    Ok(text)
}

/// The script as one part of a MIME document, so that cloud-init takes others beside it.
///
/// # Errors
///
/// When it is too long in that form.
pub fn as_mime(script: &str) -> Result<String, UserDataError> {
    // No line of a script can begin like this: a shell has no command of that name.
    const BOUNDARY: &str = "==windlass-user-data==";
    fits(format!(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\n\n\
         --{BOUNDARY}\nContent-Type: text/x-shellscript; charset=\"utf-8\"\n\
         Content-Disposition: attachment; filename=\"windlass-join.sh\"\n\n{script}\n\
         --{BOUNDARY}--\n"
    ))
}

/// As the API of EC2 takes it.
pub fn as_base64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

#[cfg(test)]
mod tests;
