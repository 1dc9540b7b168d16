//! `windlass ami packer`: the same as a template of Packer.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use windlass_provision::ami::Recipe;
use windlass_provision::ami::packer::{self, SCRIPT, Syntax};

use crate::cluster_file::ConfigArgs;
use crate::output;

/// Name of the template.
const TEMPLATE: &str = "windlass.pkr.hcl";

#[derive(Args)]
pub(super) struct PackerArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Directory that the template and the script are written to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Which Packer is to read it. 1.6 lacks the settings of the metadata service: for validating.
    #[arg(long, value_enum, default_value_t = SyntaxName::Current)]
    packer_syntax: SyntaxName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SyntaxName {
    /// 1.7 and newer.
    Current,
    /// 1.6.
    #[value(name = "1.6")]
    V1_6,
}

pub(super) fn run(args: &PackerArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.read()?;
    let recipe = Recipe::of(&config)?;
    let syntax = match args.packer_syntax {
        SyntaxName::Current => Syntax::Current,
        SyntaxName::V1_6 => Syntax::V1_6,
    };
    fs::create_dir_all(&args.out).with_context(|| format!("create `{}`", args.out.display()))?;
    let template = packer::template(&config, &recipe, syntax);
    for (name, text) in [(TEMPLATE, template), (SCRIPT, recipe.script())] {
        let path = args.out.join(name);
        fs::write(&path, text).with_context(|| format!("write `{}`", path.display()))?;
        output::talk(&format!("wrote {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}
