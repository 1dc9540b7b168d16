use std::path::PathBuf;

use anyhow::bail;
use clap::ValueEnum;
use windlass_core::Memory;
use windlass_model::ObjectName;
use windlass_sim::{Subject, explain};

use crate::output::{self, Format};
use crate::scenario_files;

/// Arguments of `windlass explain`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to explain.
    #[arg(value_enum)]
    kind: Kind,
    /// Its name; of a pod `NAMESPACE/NAME`, or `NAME` in the namespace `default`.
    name: String,
    /// Scenario files, YAML or JSON; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to print the explanation.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Why a pod is pending.
    Pod,
    /// Why a node is not removed.
    Node,
    /// Why a group does not grow.
    Group,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let subject = match args.kind {
        Kind::Pod => Subject::Pod(pod_name(&args.name)?),
        Kind::Node => Subject::Node(args.name.as_str().into()),
        Kind::Group => Subject::Group(args.name.as_str().into()),
    };
    let scenario = scenario_files::read(&args.files)?;
    let cluster = scenario.cluster();
    let explanation = explain(
        &cluster,
        &scenario.config,
        &Memory::default(),
        scenario.now,
        &subject,
    )?;
    match args.output {
        Format::Text => output::data(&explanation.to_text()),
        Format::Json => output::data(&explanation.to_json()),
    }
}

fn pod_name(text: &str) -> anyhow::Result<ObjectName> {
    let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
    if namespace.is_empty() || name.is_empty() || name.contains('/') {
        bail!("`{text}` is not the name of a pod: write NAMESPACE/NAME");
    }
    Ok(ObjectName::new(namespace, name))
}
