//! `windlass userdata`: what a new instance runs to become a node.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use windlass_provision::join::{CommandConfig, LabelsFrom, LocalDisks};
use windlass_provision::pin::CaPin;
use windlass_provision::userdata::{
    self, Binary, CloudProvider, LifecycleHook, MAX_LENGTH, Mode, Nodeadm, OnFailure, TIGHT_LENGTH,
    UserData,
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
    #[arg(long, value_enum, default_value_t = ModeName::Agent)]
    mode: ModeName,
    /// Parameter to read; `/windlass/<cluster>/join`, with `--mode=legacy-2019` `jointoken`.
    #[arg(long, value_name = "NAME")]
    parameter: Option<String>,
    /// `host:port` of the API server; only `--mode=legacy-2019` needs it, since the plain
    /// parameter names none, and `--mode=nodeadm`, which takes the `https://…` that EKS gives.
    #[arg(
        long,
        value_name = "HOST:PORT",
        required_if_eq_any([("mode", "legacy-2019"), ("mode", "nodeadm")])
    )]
    endpoint: Option<String>,
    /// File with the cluster's CA bundle in PEM, for `--mode=nodeadm`.
    #[arg(long, value_name = "FILE", required_if_eq("mode", "nodeadm"))]
    certificate_authority: Option<PathBuf>,
    /// Range of the services' addresses, for `--mode=nodeadm`.
    #[arg(long, value_name = "CIDR", required_if_eq("mode", "nodeadm"))]
    service_cidr: Option<String>,
    /// Labels of the nodes.
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    labels: Vec<String>,
    /// Taints of the nodes.
    #[arg(long, value_name = "KEY=VALUE:EFFECT", value_delimiter = ',')]
    taints: Vec<String>,
    /// Where more labels and taints come from; the node's role needs `autoscaling:DescribeTags` for
    /// `asg-tags`. With `--mode=agent` and `--mode=fetch`.
    #[arg(long, value_enum, default_value_t = LabelsFromName::Config)]
    labels_from: LabelsFromName,
    /// What is done with the instances' own disks. With `--mode=agent` and `--mode=fetch`.
    #[arg(long, value_enum, default_value_t = LocalDisksName::None)]
    local_disks: LocalDisksName,
    /// File with a command, for bash, that is run before kubeadm; may be given several times.
    #[arg(long, value_name = "FILE")]
    pre_join: Vec<PathBuf>,
    /// File with a command, for bash, that is run after the node has joined; may be given several
    /// times.
    #[arg(long, value_name = "FILE")]
    post_join: Vec<PathBuf>,
    /// Time after which such a command is ended.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = crate::token::duration)]
    command_timeout: Duration,
    /// A join fails if one of these commands does.
    #[arg(long)]
    require_commands: bool,
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
    /// Auto Scaling group of the instances: of the lifecycle hook, and whose tags are read.
    #[arg(long, value_name = "NAME")]
    auto_scaling_group: Option<String>,
    /// What happens, without a hook, to an instance that did not join.
    #[arg(long, value_enum, default_value_t = OnFailureName::Unhealthy)]
    on_failure: OnFailureName,
    /// Checks before the join that do not stop it, by kubeadm's names, or `all`.
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    ignore_preflight_errors: Vec<String>,
    /// Where to fetch windlass from: `https://…` or `s3://…`.
    #[arg(
        long,
        value_name = "URL",
        required_if_eq("mode", "fetch"),
        requires = "binary_sha256"
    )]
    binary_url: Option<String>,
    /// SHA-256 of that file.
    #[arg(long, value_name = "HEX")]
    binary_sha256: Option<String>,
    /// Compress it: cloud-init unpacks it. With `--output=base64` only.
    #[arg(long)]
    gzip: bool,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Form::Raw)]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ModeName {
    /// The image has windlass and its unit: write the node's configuration and start it.
    Agent,
    /// Fetch windlass, check its hash, then the same.
    Fetch,
    /// Reads the encrypted parameter, verifies the CA, joins with a configuration file.
    Script,
    /// The how-to's of 2019, its errors mended and its shape kept.
    #[value(name = "legacy-2019")]
    Legacy2019,
    /// The configuration that the images of EKS read: such nodes join by their own role.
    Nodeadm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CloudProviderName {
    /// A cloud controller manager in the cluster.
    External,
    /// Nobody.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LabelsFromName {
    /// From nowhere.
    Config,
    /// From the `node-template` tags of the Auto Scaling group.
    AsgTags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LocalDisksName {
    /// Nothing.
    None,
    /// They are one file system, on which containers and pods write.
    Raid0,
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
    if args.gzip && args.output != Form::Base64 {
        bail!("--gzip goes with --output=base64: what is compressed is no text");
    }
    let (raw, mime) = if args.mode == ModeName::Nodeadm {
        let nodeadm = nodeadm(args)?;
        (nodeadm.render()?, nodeadm.as_mime())
    } else {
        let script = user_data(args)?.render()?;
        let mime = userdata::as_mime(&script);
        (script, mime)
    };
    if args.mode == ModeName::Legacy2019 {
        output::talk(
            "warning: --mode=legacy-2019 reads the token from a plain parameter and gives it to \
             kubeadm as an argument, which every process of the instance can read; use it for \
             images and clusters that cannot move yet",
        );
    }
    let text = match args.output {
        Form::Raw => raw,
        Form::Mime => mime?,
        Form::Base64 if args.gzip => userdata::as_base64(&gzipped(&mime?)),
        Form::Base64 => userdata::as_base64(mime?.as_bytes()),
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

/// A gzip file of one member, the same for the same text: without a time in it.
pub(crate) fn gzipped(text: &str) -> Vec<u8> {
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff];
    const BEST: u8 = 9;
    let mut file = HEADER.to_vec();
    file.extend(miniz_oxide::deflate::compress_to_vec(text.as_bytes(), BEST));
    file.extend(crc32(text.as_bytes()).to_le_bytes());
    // Modulo 2^32, as RFC 1952 has it.
    let length = u32::try_from(text.len() & 0xffff_ffff).unwrap_or_default();
    file.extend(length.to_le_bytes());
    file
}

/// The checksum of gzip, RFC 1952.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

fn nodeadm(args: &RenderArgs) -> anyhow::Result<Nodeadm> {
    let Some(path) = &args.certificate_authority else {
        bail!("--certificate-authority is missing");
    };
    let certificate_authority =
        std::fs::read_to_string(path).with_context(|| format!("read `{}`", path.display()))?;
    Ok(Nodeadm {
        cluster: args.cluster.clone(),
        endpoint: args.endpoint.clone().unwrap_or_default(),
        certificate_authority,
        service_cidr: args.service_cidr.clone().unwrap_or_default(),
        node_group: args.group.clone(),
        labels: read_all(&args.labels, label)?,
        taints: read_all(&args.taints, taint)?,
    })
}

fn read_all<T>(
    texts: &[String],
    read: impl Fn(&str) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    texts.iter().map(|text| read(text)).collect()
}

fn user_data(args: &RenderArgs) -> anyhow::Result<UserData> {
    let (mode, parameter) = match args.mode {
        ModeName::Agent => (Mode::Agent, format!("/windlass/{}/join", args.cluster)),
        ModeName::Fetch => (Mode::Fetch, format!("/windlass/{}/join", args.cluster)),
        ModeName::Script => (Mode::Script, format!("/windlass/{}/join", args.cluster)),
        ModeName::Legacy2019 => (Mode::Legacy2019, "jointoken".to_owned()),
        ModeName::Nodeadm => bail!("--mode=nodeadm is no script"),
    };
    Ok(UserData {
        mode,
        cluster: args.cluster.clone(),
        parameter: args.parameter.clone().unwrap_or(parameter),
        node_group: args.group.clone(),
        endpoint: args.endpoint.clone().unwrap_or_default(),
        labels: read_all(&args.labels, label)?,
        taints: read_all(&args.taints, taint)?,
        labels_from: match args.labels_from {
            LabelsFromName::Config => LabelsFrom::Config,
            LabelsFromName::AsgTags => LabelsFrom::AsgTags,
        },
        auto_scaling_group: args.auto_scaling_group.clone(),
        local_disks: match args.local_disks {
            LocalDisksName::None => LocalDisks::None,
            LocalDisksName::Raid0 => LocalDisks::Raid0,
        },
        pre_join: commands(args, &args.pre_join)?,
        post_join: commands(args, &args.post_join)?,
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
            (None, _) => None,
            (Some(_), None) => bail!("--lifecycle-hook needs --auto-scaling-group"),
        },
        on_failure: match args.on_failure {
            OnFailureName::Unhealthy => OnFailure::Unhealthy,
            OnFailureName::Keep => OnFailure::Keep,
        },
        binary: match (&args.binary_url, &args.binary_sha256) {
            (Some(url), Some(sha256)) => Some(Binary {
                url: url.clone(),
                sha256: sha256.to_ascii_lowercase(),
            }),
            _ => None,
        },
        ignore_preflight_errors: args.ignore_preflight_errors.clone(),
    })
}

fn commands(args: &RenderArgs, files: &[PathBuf]) -> anyhow::Result<Vec<CommandConfig>> {
    let read = |path: &PathBuf| {
        let run =
            std::fs::read_to_string(path).with_context(|| format!("read `{}`", path.display()))?;
        Ok(CommandConfig {
            run,
            timeout: args.command_timeout,
            required: args.require_commands,
        })
    };
    files.iter().map(read).collect()
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
    fn gunzip_reads_what_was_compressed() {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let text = "#!/bin/sh\necho joined\n".repeat(50);
        let mut child = Command::new("gunzip")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(&gzipped(&text))
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
    }

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
