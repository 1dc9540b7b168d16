//! `windlass iam`: the permissions that Windlass needs on AWS.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use windlass_provision::iam::{self, Actor, Feature, Place, Request, Verdict};

use crate::output;

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
    Render(PolicyArgs),
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
    /// Name of the cluster, as in its groups' tag `k8s.io/cluster-autoscaler/NAME`.
    #[arg(long, value_name = "NAME", env = "WINDLASS_CLUSTER")]
    cluster: String,
    /// The account's twelve digits.
    #[arg(long, value_name = "DIGITS", value_parser = account)]
    account: String,
    /// The region.
    #[arg(long, value_name = "REGION", env = "AWS_REGION")]
    region: String,
    /// Features besides those that are always needed; `all` for all of them, `none` for none. The
    /// usual ones where none is named: docs/iam.md lists them.
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
    /// ARN of the key that encrypts it, unless it is AWS's own.
    #[arg(long, value_name = "ARN")]
    kms_key: Option<String>,
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
}

pub(crate) fn run(args: &IamArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        IamCommand::Render(args) => {
            let document = iam::policy(&features(args)?, &place(args));
            let text = serde_json::to_string_pretty(&document).context("print the policy")?;
            output::data(&format!("{text}\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        IamCommand::Check(args) => check(args),
    }
}

fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let path = args.file.display();
    let text = std::fs::read_to_string(&args.file).with_context(|| format!("read `{path}`"))?;
    let document: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("`{path}` is not JSON"))?;
    let place = place(&args.policy);
    let mut missing = String::new();
    for feature in features(&args.policy)? {
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

fn judge(
    document: &serde_json::Value,
    request: &Request,
    file: &std::path::Path,
) -> anyhow::Result<Verdict> {
    iam::evaluate(document, request).with_context(|| format!("judge `{}`", file.display()))
}

fn place(args: &PolicyArgs) -> Place {
    let mut place = Place::new(&args.region, &args.account, &args.cluster);
    place.groups.clone_from(&args.groups);
    place.tag_value.clone_from(&args.tag_value);
    place.key.clone_from(&args.kms_key);
    if let Some(parameter) = &args.parameter {
        place.parameter.clone_from(parameter);
    }
    place
}

fn features(args: &PolicyArgs) -> anyhow::Result<Vec<Feature>> {
    let actor = match args.actor {
        ActorName::Autoscaler => Actor::Autoscaler,
        ActorName::Node => Actor::Node,
        ActorName::Rotator => Actor::Rotator,
        ActorName::CsrApprover => Actor::CsrApprover,
        ActorName::AmiBuilder => Actor::AmiBuilder,
        ActorName::AmiInstance => Actor::AmiInstance,
    };
    let all = actor.features();
    let names: Vec<&str> = args.features.iter().map(String::as_str).collect();
    let chosen = |feature: &Feature| match &names[..] {
        [] => feature.is_usual(),
        ["all"] => true,
        ["none"] => feature.is_required(),
        names => feature.is_required() || names.contains(&feature.name()),
    };
    let known = |name: &&str| all.iter().any(|feature| feature.name() == *name);
    let words = matches!(names[..], ["all" | "none"]);
    if let Some(stray) = names.iter().find(|name| !words && !known(name)) {
        let known: Vec<&str> = all.iter().map(|feature| feature.name()).collect();
        bail!(
            "`{stray}` is no feature of the {}: write {}, or `all` or `none`",
            actor.name(),
            known.join(", ")
        );
    }
    Ok(all.into_iter().filter(chosen).collect())
}

fn account(text: &str) -> Result<String, String> {
    let is_account = text.len() == 12 && text.chars().all(|c| c.is_ascii_digit());
    is_account
        .then(|| text.to_owned())
        .ok_or_else(|| "an account is twelve digits".to_owned())
}
