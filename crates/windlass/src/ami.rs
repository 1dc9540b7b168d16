//! `windlass ami`: the machine image of the nodes.

mod build;
mod check;
mod host;
mod images;
mod judge;
mod packer;
mod report;
mod role;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use windlass_aws_client::CallError;
use windlass_provision::ami::Recipe;
use windlass_provision::iam::Actor;

use crate::cluster_file::ConfigArgs;
use crate::{hint, output};

/// A failed call with what to do about it.
fn advised(error: CallError) -> anyhow::Error {
    hint::advised(error, Actor::AmiBuilder)
}

/// Arguments of `windlass ami`.
#[derive(Args)]
pub(crate) struct AmiArgs {
    #[command(subcommand)]
    command: AmiCommand,
}

#[derive(Subcommand)]
enum AmiCommand {
    /// Print the script that makes a node's image out of Debian or Ubuntu.
    ///
    /// It runs as root, on a machine or in a chroot, and changes nothing when it runs again.
    Script(ScriptArgs),
    /// Say whether a host or an image is what it was built to be.
    ///
    /// It ends with 0 when every property holds, with 2 when one does not.
    Check(check::CheckArgs),
    /// Build an image through EC2: an instance builds itself, and its disk becomes the image.
    ///
    /// What there is already is not built again. Whatever happens, the instance, its security group
    /// and its report are gone in the end. It ends with 0 when there is the image, with 1 when there is
    /// none, with 4 after an interrupt, with 5 when something could not be removed.
    Build(build::BuildArgs),
    /// Write a template of Packer that does the same with the same script.
    Packer(packer::PackerArgs),
    /// List the images that were built for a cluster, and what uses them.
    List(images::ListArgs),
    /// Remove old images that nothing uses, with their snapshots.
    ///
    /// An image stays that a group launches from, an instance runs on, or the parameter of
    /// `spec.ami.publish` names, and so do the newest.
    Prune(images::PruneArgs),
    /// Remove what killed builds have left: instances, security groups, reports, unfinished images and
    /// snapshots without an image.
    ///
    /// Only what carries the cluster's tag and whose time is over. It ends with 5 when something could
    /// not be removed.
    Gc(images::GcArgs),
    /// Say how far a build is: the building instance calls it.
    #[command(hide = true)]
    Report(report::ReportArgs),
}

#[derive(Args)]
struct ScriptArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) fn run(args: &AmiArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        AmiCommand::Script(args) => {
            let recipe = Recipe::of(&args.config.read()?)?;
            output::data(&recipe.script())?;
            Ok(ExitCode::SUCCESS)
        }
        AmiCommand::Check(args) => check::run(args),
        AmiCommand::Build(args) => build::run(args),
        AmiCommand::Packer(args) => packer::run(args),
        AmiCommand::List(args) => images::list(args),
        AmiCommand::Prune(args) => images::prune(args),
        AmiCommand::Gc(args) => images::gc(args),
        AmiCommand::Report(args) => report::run(args),
    }
}
