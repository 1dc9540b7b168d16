//! What a new instance runs to become a node: the launch template's user data.
//!
//! There is no secret in it, since whoever may describe the instance can read it. Everything that
//! an operator writes goes in through one quoting function.

mod nodeadm;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use minijinja::{Environment, UndefinedBehavior, context};

use crate::join::{
    CloudProviderSetting, CommandConfig, HookConfig, LabelsFrom, LocalDisks, NodeConfig,
    NodeConfigError, OnFailureSetting, TaintConfig,
};
use crate::labels::{self, LabelError};
use crate::pin::CaPin;

pub use nodeadm::Nodeadm;

/// Longest user data that both EC2 and launch configurations take, in bytes before base64.
pub const MAX_LENGTH: usize = 16_383;
/// Length from which on little room is left.
pub const TIGHT_LENGTH: usize = 15_360;

/// Which script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The image has windlass and its unit: writes the node's configuration and starts it.
    Agent,
    /// Fetches windlass, checks its hash, then does as [`Mode::Agent`].
    Fetch,
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

/// Where an instance gets windlass from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// `https://…` or `s3://…`.
    pub url: String,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
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
    /// Whether the group's own tags say more labels and taints. Not in the scripts.
    pub labels_from: LabelsFrom,
    /// Name of the instances' Auto Scaling group, with [`LabelsFrom::AsgTags`].
    pub auto_scaling_group: Option<String>,
    /// What is done with the instances' own disks. Not in the scripts.
    pub local_disks: LocalDisks,
    /// Commands before the join. Not in [`Mode::Legacy2019`].
    pub pre_join: Vec<CommandConfig>,
    /// Commands after the join. Not in [`Mode::Legacy2019`].
    pub post_join: Vec<CommandConfig>,
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
    /// For [`Mode::Fetch`].
    pub binary: Option<Binary>,
    /// Checks of kubeadm's that do not stop the join, or `all`.
    pub ignore_preflight_errors: Vec<String>,
}

/// Why no user data is rendered.
#[derive(Debug, thiserror::Error)]
pub enum UserDataError {
    /// A label or taint that would stop the kubelet.
    #[error(transparent)]
    Label(#[from] LabelError),
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
    /// A setting that this form does nothing with.
    #[error("{what} is not for this form of user data: {instead}")]
    Form {
        /// The setting.
        what: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// Nothing to fetch, or nothing to check it by.
    #[error(
        "the binary to fetch needs an https or s3 URL and the SHA-256 of the file: without the hash \
         nothing is rendered"
    )]
    Binary,
    /// The node's configuration would be refused.
    #[error("the node's configuration would be refused")]
    NodeConfig(#[from] NodeConfigError),
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
            Mode::Agent => include_str!("userdata/agent.sh.j2"),
            Mode::Fetch => include_str!("userdata/fetch.sh.j2"),
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
                node_config => self.node_config()?.to_json(),
                binary_url => self.binary.as_ref().map_or("", |it| it.url.as_str()),
                binary_sha256 => self.binary.as_ref().map_or("", |it| it.sha256.as_str()),
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
                ignored_json => serde_json::json!(self.ignore_preflight_errors).to_string(),
                lifecycle_hook => hook.map_or("", |it| it.hook.as_str()),
                auto_scaling_group => hook.map_or("", |it| it.group.as_str()),
                pre_join => commands(&self.pre_join),
                post_join => commands(&self.post_join),
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

    /// What `windlass join` is told by it.
    ///
    /// # Errors
    ///
    /// When `windlass join` would refuse it.
    pub fn node_config(&self) -> Result<NodeConfig, UserDataError> {
        let mut config = NodeConfig::new(&self.cluster, &self.node_group);
        config.parameter = Some(self.parameter.clone()).filter(|name| !name.is_empty());
        config.labels = self.labels.iter().cloned().collect();
        config.taints = self
            .taints
            .iter()
            .map(|(key, value, effect)| TaintConfig {
                key: key.clone(),
                value: value.clone(),
                effect: effect.clone(),
            })
            .collect();
        config.labels_from = self.labels_from;
        config
            .auto_scaling_group
            .clone_from(&self.auto_scaling_group);
        config.local_disks = self.local_disks;
        config.pre_join.clone_from(&self.pre_join);
        config.post_join.clone_from(&self.post_join);
        config.cri_socket.clone_from(&self.cri_socket);
        config.cloud_provider = match self.cloud_provider {
            CloudProvider::External => CloudProviderSetting::External,
            CloudProvider::None => CloudProviderSetting::None,
        };
        config.ca_pins.clone_from(&self.pins);
        config.lifecycle_hook = self.lifecycle_hook.as_ref().map(|hook| HookConfig {
            auto_scaling_group: hook.group.clone(),
            name: hook.hook.clone(),
        });
        config.on_failure = match self.on_failure {
            OnFailure::Unhealthy => OnFailureSetting::Unhealthy,
            OnFailure::Keep => OnFailureSetting::Keep,
        };
        config
            .ignore_preflight_errors
            .clone_from(&self.ignore_preflight_errors);
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), UserDataError> {
        if self.mode == Mode::Fetch && !self.binary.as_ref().is_some_and(Binary::is_right) {
            return Err(UserDataError::Binary);
        }
        let is_script = matches!(self.mode, Mode::Script | Mode::Legacy2019);
        for (what, is_set) in [
            (
                "labels from the group's tags",
                self.labels_from != LabelsFrom::Config,
            ),
            ("local disks", self.local_disks != LocalDisks::None),
        ] {
            if is_script && is_set {
                let instead = "take the form `agent` or `fetch`";
                return Err(UserDataError::Form { what, instead });
            }
        }
        let has_commands = !self.pre_join.is_empty() || !self.post_join.is_empty();
        if self.mode == Mode::Legacy2019 && has_commands {
            return Err(UserDataError::Form {
                what: "a command before or after the join",
                instead: "take another form, or put it into a MIME part of its own",
            });
        }
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
        labels::check("windlass.dev/node-group", &self.node_group)?;
        for (key, value) in &self.labels {
            labels::check_own_label(key, value)?;
        }
        for (key, value, effect) in &self.taints {
            labels::check_taint(key, value, effect)?;
        }
        Ok(())
    }
}

/// Commands as the script's template takes them.
fn commands(commands: &[CommandConfig]) -> Vec<minijinja::Value> {
    let entry = |command: &CommandConfig| {
        context! {
            run => &command.run,
            name => command.name(),
            seconds => command.timeout.as_secs(),
            required => if command.required { "yes" } else { "no" },
        }
    };
    commands.iter().map(entry).collect()
}

impl Binary {
    fn is_right(&self) -> bool {
        let is_url = ["https://", "s3://"].iter().any(|scheme| {
            self.url
                .strip_prefix(scheme)
                .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic()))
        });
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        is_url && self.sha256.len() == 64 && self.sha256.bytes().all(is_digit)
    }
}

/// A word that a shell reads as this text and nothing else.
pub(crate) fn single_quoted(text: &str) -> String {
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
    let kind = "text/x-shellscript; charset=\"utf-8\"";
    fits(mime(kind, Some("windlass-join.sh"), script))
}

/// A MIME document of one part.
fn mime(kind: &str, name: Option<&str>, content: &str) -> String {
    // No line of a script can begin like this: a shell has no command of that name.
    const BOUNDARY: &str = "==windlass-user-data==";
    let disposition = name.map_or_else(String::new, |name| {
        format!("Content-Disposition: attachment; filename=\"{name}\"\n")
    });
    format!(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\n\n\
         --{BOUNDARY}\nContent-Type: {kind}\n{disposition}\n{content}\n--{BOUNDARY}--\n"
    )
}

/// As the API of EC2 takes it.
pub fn as_base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests;
