//! `windlass iam`: the permissions that Windlass needs on AWS.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use windlass_provision::cluster_config::ClusterConfig;
use windlass_provision::iam::{self, Actor, Feature, Place, Request, Verdict};

use crate::{cluster_file, output};

/// Exit code of a check that found something missing.
const MISSING: u8 = 3;

/// Arguments of `windlass iam`.
#[derive(Args)]
pub(crate) struct IamArgs {
    #[command(subcommand)]
    command: IamCommand,
}

#[derive(Subcommand)]
enum IamCommand {
    /// Print the policy that an actor needs.
    Render(RenderArgs),
    /// Say which of an actor's permissions a policy lacks.
    ///
    /// Nothing is asked of AWS. It ends with 0 when nothing is missing, with 3 when something is.
    Check(CheckArgs),
}

#[derive(Args)]
struct PolicyArgs {
    /// Who is to have it.
    #[arg(long, value_enum, default_value_t = ActorName::Autoscaler)]
    actor: ActorName,
    /// The cluster's configuration file, which names cluster, region, parameters and key.
    #[arg(long, value_name = "FILE", env = "WINDLASS_CONFIG")]
    config: Option<PathBuf>,
    /// Name of the cluster, as in its groups' tag `k8s.io/cluster-autoscaler/NAME`.
    #[arg(long, value_name = "NAME", env = "WINDLASS_CLUSTER")]
    cluster: Option<String>,
    /// The account's twelve digits.
    #[arg(long, value_name = "DIGITS", value_parser = account)]
    account: Option<String>,
    /// The region.
    #[arg(long, value_name = "REGION", env = "AWS_REGION")]
    region: Option<String>,
    /// Features besides those that are always needed: docs/iam.md lists them. Where none is named,
    /// or `usual` is, those that follow from the file of `--config`; without it what is commonly
    /// needed. `all` for all of them, `none` for none.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    features: Vec<String>,
    /// Auto Scaling groups by name, in place of the cluster's tag.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    groups: Vec<String>,
    /// Value that the cluster's tag must have; any where none is said.
    #[arg(long, value_name = "VALUE", conflicts_with = "groups")]
    tag_value: Option<String>,
    /// Parameter of the join credential; `/windlass/<cluster>/join`.
    #[arg(long, value_name = "NAME")]
    parameter: Option<String>,
    /// Plain parameter that the bare token is written to too, such as `jointoken`.
    #[arg(long, value_name = "NAME")]
    compat_parameter: Option<String>,
    /// The key that encrypts the join credential, unless it is AWS's own: ARN, id or alias.
    #[arg(long, value_name = "KEY")]
    kms_key: Option<String>,
}

#[derive(Args)]
struct RenderArgs {
    #[command(flatten)]
    policy: PolicyArgs,
    /// For which tool.
    #[arg(long, value_enum, default_value_t = PolicyFormat::Json)]
    format: PolicyFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PolicyFormat {
    /// The document.
    Json,
    /// A `CloudFormation` template of a managed policy.
    Cfn,
    /// Terraform's JSON of a managed policy.
    Terraform,
}

#[derive(Args)]
struct CheckArgs {
    #[command(flatten)]
    policy: PolicyArgs,
    /// The policy document, JSON.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum ActorName {
    /// `windlass run`.
    Autoscaler,
    /// A worker node.
    Node,
    /// `windlass token rotate`.
    Rotator,
    /// `windlass csr-approver`.
    CsrApprover,
    /// Who runs `windlass ami build`.
    AmiBuilder,
    /// The instance that builds a machine image.
    AmiInstance,
    /// Who runs `windlass provision`.
    Provisioner,
    /// Who runs `windlass doctor`, and `windlass verify` with the cluster's file.
    Doctor,
    /// Everybody, with the one policy of the how-to of 2019. Prints what is wrong with it.
    #[value(name = "legacy-2019")]
    Legacy2019,
}

impl ActorName {
    /// None for the how-to's policy, which is nobody's.
    fn actor(self) -> Option<Actor> {
        Some(match self {
            Self::Autoscaler => Actor::Autoscaler,
            Self::Node => Actor::Node,
            Self::Rotator => Actor::Rotator,
            Self::CsrApprover => Actor::CsrApprover,
            Self::AmiBuilder => Actor::AmiBuilder,
            Self::AmiInstance => Actor::AmiInstance,
            Self::Provisioner => Actor::Provisioner,
            Self::Doctor => Actor::Doctor,
            Self::Legacy2019 => return None,
        })
    }
}

pub(crate) fn run(args: &IamArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        IamCommand::Render(args) => render(args),
        IamCommand::Check(args) => check(args),
    }
}

fn render(args: &RenderArgs) -> anyhow::Result<ExitCode> {
    let (name, document) = if let Some(actor) = args.policy.actor.actor() {
        let Ground { place, features } = ground(actor, &args.policy)?;
        let document = iam::policy(&features, &place);
        let length = iam::characters(&document);
        if iam::MOST_CHARACTERS < length {
            output::talk(&format!(
                "warning: the policy has {length} characters, and AWS takes {} for a managed policy: \
                 render two, each with half of the features (--features), or make it a role's inline \
                 policy",
                iam::MOST_CHARACTERS
            ));
        }
        let name = format!("{}-windlass-{}", place.cluster, actor.name());
        (name, document)
    } else {
        output::talk("warning: this is the policy of 2019, and what is wrong with it is:");
        for fault in iam::LEGACY_FAULTS {
            output::talk(&format!("  - {fault}"));
        }
        output::talk("`windlass iam render --actor node` and `--actor autoscaler` replace it.");
        ("cluster-autoscaler".to_owned(), iam::legacy_2019())
    };
    let text = match args.format {
        PolicyFormat::Json => document,
        PolicyFormat::Cfn => json!({
            "AWSTemplateFormatVersion": "2010-09-09",
            "Resources": {
                "Policy": {
                    "Type": "AWS::IAM::ManagedPolicy",
                    "Properties": { "ManagedPolicyName": name, "PolicyDocument": document },
                },
            },
        }),
        PolicyFormat::Terraform => json!({
            "resource": { "aws_iam_policy": {
                // Terraform reads `${` as its own.
                (name.clone()): {
                    "name": name,
                    "policy": document.to_string().replace("${", "$${"),
                },
            } },
        }),
    };
    let text = serde_json::to_string_pretty(&text).context("print the policy")?;
    output::data(&format!("{text}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let path = args.file.display();
    let text = std::fs::read_to_string(&args.file).with_context(|| format!("read `{path}`"))?;
    let document: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("`{path}` is not JSON"))?;
    let Some(actor) = args.policy.actor.actor() else {
        bail!("the policy of 2019 is nobody's: name the actor that the document is for");
    };
    let Ground { place, features } = ground(actor, &args.policy)?;
    let mut missing = String::new();
    for feature in features {
        for (action, request) in iam::needs(feature, &place) {
            if judge(&document, &request, &args.file)? != Verdict::Allowed {
                // Writing into a String cannot fail.
                let _ = writeln!(
                    missing,
                    "{action}\t{}\twithout it: {}",
                    feature.name(),
                    feature.without_it()
                );
            }
        }
    }
    if missing.is_empty() {
        output::talk("nothing is missing");
        return Ok(ExitCode::SUCCESS);
    }
    output::data(&missing)?;
    Ok(ExitCode::from(MISSING))
}

fn judge(document: &serde_json::Value, request: &Request, file: &Path) -> anyhow::Result<Verdict> {
    iam::evaluate(document, request).with_context(|| format!("judge `{}`", file.display()))
}

/// Where and for whom a policy is, and what for.
struct Ground {
    place: Place,
    features: Vec<Feature>,
}

fn ground(actor: Actor, args: &PolicyArgs) -> anyhow::Result<Ground> {
    let config = args.config.as_deref();
    let config = config.map(cluster_file::read).transpose()?;
    let place = place(args, config.as_ref())?;
    let named: Vec<&str> = args.features.iter().map(String::as_str).collect();
    let features = actor.chosen(&named, config.as_ref())?;
    if let Some(path) = &args.config
        && named.is_empty()
    {
        tell_chosen(actor, &features, path);
    }
    Ok(Ground { place, features })
}

/// Says which features follow from a file, and which do not, so that nobody misses one.
fn tell_chosen(actor: Actor, features: &[Feature], path: &Path) {
    let (chosen, left): (Vec<Feature>, Vec<Feature>) = actor
        .features()
        .into_iter()
        .partition(|feature| features.contains(feature));
    let names = |features: &[Feature]| {
        let names: Vec<&str> = features.iter().map(|feature| feature.name()).collect();
        names.join(", ")
    };
    output::talk(&format!(
        "features of the {} by `{}`: {}",
        actor.name(),
        path.display(),
        names(&chosen)
    ));
    if !left.is_empty() {
        output::talk(&format!(
            "left out: {} (`--features usual,NAME` adds one; docs/iam.md says when it is needed)",
            names(&left)
        ));
    }
}

/// What the file says, or the arguments where there is none.
fn place(args: &PolicyArgs, config: Option<&ClusterConfig>) -> anyhow::Result<Place> {
    let Some(account) = &args.account else {
        bail!("name the account by its twelve digits: --account");
    };
    let mut place = if let Some(config) = config {
        config.place(account)
    } else {
        let said = |argument: &Option<String>, name: &str| {
            argument
                .clone()
                .with_context(|| format!("name {name}, or the cluster's file with --config"))
        };
        let cluster = said(&args.cluster, "--cluster")?;
        Place::new(&said(&args.region, "--region")?, account, &cluster)
    };
    place.groups.clone_from(&args.groups);
    place.tag_value.clone_from(&args.tag_value);
    if args.kms_key.is_some() {
        place.key.clone_from(&args.kms_key);
    }
    if args.compat_parameter.is_some() {
        place.plain_parameter.clone_from(&args.compat_parameter);
    }
    if let Some(parameter) = &args.parameter {
        place.parameter.clone_from(parameter);
    }
    Ok(place)
}

fn account(text: &str) -> Result<String, String> {
    let is_account = text.len() == 12 && text.chars().all(|c| c.is_ascii_digit());
    is_account
        .then(|| text.to_owned())
        .ok_or_else(|| "an account is twelve digits".to_owned())
}
