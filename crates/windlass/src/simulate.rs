use std::path::PathBuf;

use anyhow::bail;
use windlass_sim::{Once, decide_once};

use crate::output::{self, Format};
use crate::scenario_files;

/// Arguments of `windlass simulate`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Scenario files, YAML or JSON; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Take one decision, that of a fresh autoscaler's first loop, and stop.
    #[arg(long)]
    once: bool,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Print how long the decision took, as a line of JSON on standard error.
    #[arg(long, requires = "once")]
    timings: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let scenario = scenario_files::read(&args.files)?;
    let once = decide_once(&scenario);
    print_once(args, &once)
}

fn print_once(args: &Args, once: &Once) -> anyhow::Result<()> {
    if args.timings {
        output::talk(&serde_json::to_string(&once.timings)?);
    }
    match args.output {
        Format::Json | Format::Text => output::data(&once.decision.to_json())?,
    }
    if let Some(violation) = once.violations.first() {
        bail!("the plan breaks a rule and would not be carried out: {violation}");
    }
    Ok(())
}
