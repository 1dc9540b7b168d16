//! `windlass manifests`: what is applied to the cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::Value;
use windlass_provision::cluster_config::ClusterConfig;
use windlass_provision::manifests::{self, Component, File, fix, rbac, yaml};

use crate::cluster_file::ConfigArgs;
use crate::output;

/// Arguments of `windlass manifests`.
#[derive(Args)]
pub(crate) struct ManifestsArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Parts to render; if left out, `autoscaler` and `token-rotator`, and `csr-approver` where the
    /// configuration has `spec.csr.verify`.
    #[arg(long, value_enum, value_delimiter = ',')]
    component: Vec<ComponentName>,
    /// What to render.
    #[arg(long, value_enum, default_value_t = Form::Plain)]
    format: Form,
    /// Directory to write to, instead of standard output; `kustomize` needs one.
    #[arg(long, value_name = "DIR", required_if_eq("format", "kustomize"))]
    out: Option<PathBuf>,
    /// How objects are printed.
    #[arg(short, long, value_enum, default_value_t = Output::Yaml)]
    output: Output,
    /// Mend this old manifest instead: each fault is named with its line on standard error, and
    /// the mended manifest is printed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["component", "format", "explain_rbac"])]
    fix: Option<PathBuf>,
    /// Which rights the autoscaler gets.
    #[arg(long, value_enum, default_value_t = Rights::Minimal)]
    rbac: Rights,
    /// Print the autoscaler's rights, the use of each and the flag that asks for it.
    #[arg(long)]
    explain_rbac: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ComponentName {
    /// `windlass run`.
    Autoscaler,
    /// `windlass token rotate`.
    TokenRotator,
    /// `windlass csr-approver`: from then on no bootstrap token's request is approved unseen.
    CsrApprover,
    /// The rights that kubeadm gives to joining nodes, for a cluster that lacks them.
    BootstrapRbac,
    /// The account of `windlass verify` and its rights, for running it as less than an administrator.
    Verify,
}

impl ComponentName {
    fn component(self) -> Component {
        match self {
            Self::Autoscaler => Component::Autoscaler,
            Self::TokenRotator => Component::TokenRotator,
            Self::CsrApprover => Component::CsrApprover,
            Self::BootstrapRbac => Component::BootstrapRbac,
            Self::Verify => Component::Verify,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rights {
    /// Those that its flags make it use.
    Minimal,
    /// Those that the Go autoscaler's chart grants, too: to change one for the other and back.
    Upstream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Objects, in the order in which they can be made.
    Plain,
    /// Bases, and overlays for kubeadm's and for EKS clusters.
    Kustomize,
    /// Values for the Go autoscaler's chart, which with them runs Windlass.
    HelmValues,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// YAML.
    Yaml,
    /// A JSON `List`.
    Json,
}

pub(crate) fn run(args: &ManifestsArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.read()?;
    if let Some(path) = &args.fix {
        return mend(path, &config, args.output);
    }
    if args.explain_rbac {
        let rights = rbac::rights(&manifests::parsed_flags(&config));
        output::data(&rbac::explain(&rights))?;
        return Ok(ExitCode::SUCCESS);
    }
    let files = match args.format {
        Form::Kustomize => manifests::kustomize(&config),
        Form::HelmValues => {
            let values = manifests::helm_values(&config);
            let text = match args.output {
                Output::Yaml => yaml::to_yaml(&values),
                Output::Json => format!("{values:#}\n"),
            };
            vec![named("values.yaml", text)]
        }
        Form::Plain => {
            let components: Vec<Component> = if args.component.is_empty() {
                manifests::usual_components(&config)
            } else {
                args.component.iter().map(|it| it.component()).collect()
            };
            let mut objects = manifests::manifests(&config, &components);
            if args.rbac == Rights::Upstream {
                objects.extend(manifests::upstream_rights(&config));
            }
            vec![named("windlass.yaml", print(&objects, args.output))]
        }
    };
    match &args.out {
        Some(directory) => write(directory, &files)?,
        None => files.iter().try_for_each(|file| output::data(&file.text))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn named(path: &str, text: String) -> File {
    File {
        path: path.to_owned(),
        text,
    }
}

fn print(objects: &[manifests::Manifest], output: Output) -> String {
    match output {
        Output::Yaml => yaml::stream(objects),
        Output::Json => {
            let items: Vec<&Value> = objects.iter().map(|manifest| &manifest.object).collect();
            let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items });
            format!("{list:#}\n")
        }
    }
}

fn write(directory: &Path, files: &[File]) -> anyhow::Result<()> {
    for file in files {
        let path = directory.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("create `{}`", parent.display()))?;
        }
        fs::write(&path, &file.text).with_context(|| format!("write `{}`", path.display()))?;
        output::talk(&format!("wrote {}", path.display()));
    }
    Ok(())
}

fn mend(path: &Path, config: &ClusterConfig, output: Output) -> anyhow::Result<ExitCode> {
    let text = fs::read_to_string(path).with_context(|| format!("read `{}`", path.display()))?;
    let fixed =
        fix::fix(&text, config).with_context(|| format!("cannot mend `{}`", path.display()))?;
    for fault in &fixed.faults {
        output::talk(&format!("{}: {fault}", path.display()));
    }
    output::talk(&format!(
        "{} faults. Apply it with `kubectl apply --server-side --field-manager=windlass -f`: \
         `kubectl create` fails the second time.",
        fixed.faults.len()
    ));
    output::data(&print(&fixed.manifests, output))?;
    Ok(ExitCode::SUCCESS)
}
