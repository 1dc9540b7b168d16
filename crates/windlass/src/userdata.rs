//! `windlass userdata`: what a new instance runs to become a node.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use windlass_provision::pin::CaPin;
use windlass_provision::userdata::{
    self, CloudProvider, LifecycleHook, MAX_LENGTH, Mode, OnFailure, TIGHT_LENGTH, UserData,
};

use crate::output;

/// Arguments of `windlass userdata`.
#[derive(Args)]
pub(crate) struct UserDataArgs {
    #[command(subcommand)]
    command: UserDataCommand,
}

#[derive(Subcommand)]
enum UserDataCommand {
    /// Print the user data of a node group's launch template.
    Render(RenderArgs),
}

#[derive(Args)]
struct RenderArgs {
    /// Name of the cluster.
    #[arg(long, value_name = "NAME", env = "WINDLASS_CLUSTER")]
    cluster: String,
    /// Name of the node group.
    #[arg(long, value_name = "NAME")]
    group: String,
    /// Which script.
    #[arg(long, value_enum, default_value_t = ModeName::Script)]
    mode: ModeName,
    /// Parameter to read; `/windlass/<cluster>/join`, with `--mode=legacy-2019` `jointoken`.
    #[arg(long, value_name = "NAME")]
    parameter: Option<String>,
    /// `host:port` of the API server; only `--mode=legacy-2019` needs it, since the plain
    /// parameter names none.
    #[arg(long, value_name = "HOST:PORT", required_if_eq("mode", "legacy-2019"))]
    endpoint: Option<String>,
    /// Labels of the nodes.
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    labels: Vec<String>,
    /// Taints of the nodes.
    #[arg(long, value_name = "KEY=VALUE:EFFECT", value_delimiter = ',')]
    taints: Vec<String>,
    /// Socket of the container runtime.
    #[arg(
        long,
        value_name = "URL",
        default_value = "unix:///run/containerd/containerd.sock"
    )]
    cri_socket: String,
    /// Who initializes the nodes.
    #[arg(long, value_enum, default_value_t = CloudProviderName::External)]
    cloud_provider: CloudProviderName,
    /// CA pins that the instance is launched with, besides those that are published.
    #[arg(long, value_name = "sha256:HEX", value_delimiter = ',')]
    ca_pins: Vec<CaPin>,
    /// Lifecycle hook of the launch that is told how the join went.
    #[arg(long, value_name = "NAME", requires = "auto_scaling_group")]
    lifecycle_hook: Option<String>,
    /// Auto Scaling group of the lifecycle hook.
    #[arg(long, value_name = "NAME")]
    auto_scaling_group: Option<String>,
    /// What happens, without a hook, to an instance that did not join.
    #[arg(long, value_enum, default_value_t = OnFailureName::Unhealthy)]
    on_failure: OnFailureName,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Form::Raw)]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ModeName {
    /// Reads the encrypted parameter, verifies the CA, joins with a configuration file.
    Script,
    /// The how-to's of 2019, its errors mended and its shape kept.
    #[value(name = "legacy-2019")]
    Legacy2019,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CloudProviderName {
    /// A cloud controller manager in the cluster.
    External,
    /// Nobody.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnFailureName {
    /// Its group is told to replace it.
    Unhealthy,
    /// It stays, to be looked at.
    Keep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The script itself.
    Raw,
    /// As one part of a MIME document for cloud-init.
    Mime,
    /// The MIME document in base64, as EC2's API takes it.
    Base64,
}

pub(crate) fn run(args: &UserDataArgs) -> anyhow::Result<ExitCode> {
    let UserDataCommand::Render(args) = &args.command;
    let data = user_data(args)?;
    if data.mode == Mode::Legacy2019 {
        output::talk(
            "warning: --mode=legacy-2019 reads the token from a plain parameter and gives it to \
             kubeadm as an argument, which every process of the instance can read; use it for \
             images and clusters that cannot move yet",
        );
    }
    let script = data.render()?;
    let text = match args.output {
        Form::Raw => script,
        Form::Mime => userdata::as_mime(&script)?,
        Form::Base64 => userdata::as_base64(&userdata::as_mime(&script)?),
    };
    if args.output != Form::Base64 && text.len() > TIGHT_LENGTH {
        output::talk(&format!(
            "warning: {} of {MAX_LENGTH} bytes are used",
            text.len()
        ));
    }
    output::data(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn user_data(args: &RenderArgs) -> anyhow::Result<UserData> {
    let (mode, parameter) = match args.mode {
        ModeName::Script => (Mode::Script, format!("/windlass/{}/join", args.cluster)),
        ModeName::Legacy2019 => (Mode::Legacy2019, "jointoken".to_owned()),
    };
    Ok(UserData {
        mode,
        cluster: args.cluster.clone(),
        parameter: args.parameter.clone().unwrap_or(parameter),
        node_group: args.group.clone(),
        endpoint: args.endpoint.clone().unwrap_or_default(),
        labels: args
            .labels
            .iter()
            .map(|text| label(text))
            .collect::<anyhow::Result<_>>()?,
        taints: args
            .taints
            .iter()
            .map(|text| taint(text))
            .collect::<anyhow::Result<_>>()?,
        cri_socket: args.cri_socket.clone(),
        cloud_provider: match args.cloud_provider {
            CloudProviderName::External => CloudProvider::External,
            CloudProviderName::None => CloudProvider::None,
        },
        pins: args.ca_pins.clone(),
        lifecycle_hook: match (&args.lifecycle_hook, &args.auto_scaling_group) {
            (Some(hook), Some(group)) => Some(LifecycleHook {
                group: group.clone(),
                hook: hook.clone(),
            }),
            (None, None) => None,
            _ => bail!("--lifecycle-hook and --auto-scaling-group go together"),
        },
        on_failure: match args.on_failure {
            OnFailureName::Unhealthy => OnFailure::Unhealthy,
            OnFailureName::Keep => OnFailure::Keep,
        },
    })
}

fn label(text: &str) -> anyhow::Result<(String, String)> {
    let (key, value) = text
        .split_once('=')
        .with_context(|| format!("--labels: `{text}` is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn taint(text: &str) -> anyhow::Result<(String, String, String)> {
    let (rest, effect) = text
        .rsplit_once(':')
        .with_context(|| format!("--taints: `{text}` is not KEY=VALUE:EFFECT"))?;
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    Ok((key.to_owned(), value.to_owned(), effect.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_are_read_as_kubectl_writes_them() {
        let read = |text| taint(text).map(|(key, value, effect)| format!("{key} {value} {effect}"));
        assert_eq!(
            read("dedicated=web:NoSchedule").unwrap(),
            "dedicated web NoSchedule"
        );
        assert_eq!(read("gpu:NoExecute").unwrap(), "gpu  NoExecute");
        assert!(read("gpu").is_err());
    }
}
