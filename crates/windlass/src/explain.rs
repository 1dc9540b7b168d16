#[cfg(feature = "cluster")]
mod flags;
#[cfg(feature = "cluster")]
mod live;

use std::path::PathBuf;

use anyhow::bail;
use clap::ValueEnum;
use windlass_core::Memory;
use windlass_model::ObjectName;
use windlass_sim::{Explanation, Subject, explain};

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
    /// Scenario files, YAML or JSON; `-` is standard input. Without one the live cluster is asked.
    #[cfg_attr(not(feature = "cluster"), arg(required = true))]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to print the explanation.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Where the live cluster is.
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    live: live::LiveArgs,
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
    let answer = ask(args, &subject)?;
    match args.output.encoding() {
        None => output::data(&answer.to_text()),
        Some(encoding) => output::document(encoding, &answer),
    }
}

/// The explanation, and of a live group what AWS says of it.
#[derive(serde::Serialize)]
struct Answer {
    #[serde(flatten)]
    explanation: Explanation,
    #[cfg(feature = "cluster")]
    #[serde(skip_serializing_if = "Option::is_none")]
    aws: Option<windlass_aws::GroupExplanation>,
}

impl Answer {
    fn of(explanation: Explanation) -> Self {
        Self {
            explanation,
            #[cfg(feature = "cluster")]
            aws: None,
        }
    }

    fn to_text(&self) -> String {
        #[cfg(feature = "cluster")]
        if let Some(aws) = &self.aws {
            return self.explanation.to_text() + &aws.to_text();
        }
        self.explanation.to_text()
    }
}

fn ask(args: &Args, subject: &Subject) -> anyhow::Result<Answer> {
    #[cfg(feature = "cluster")]
    if args.files.is_empty() {
        return live::ask(&args.live, subject);
    }
    let scenario = scenario_files::read(&args.files)?;
    let cluster = scenario.cluster();
    let explained = explain(
        &cluster,
        &scenario.config,
        &scenario.profiles,
        &Memory::default(),
        scenario.now,
        subject,
    );
    Ok(Answer::of(explained?))
}

fn pod_name(text: &str) -> anyhow::Result<ObjectName> {
    let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
    if namespace.is_empty() || name.is_empty() || name.contains('/') {
        bail!("`{text}` is not the name of a pod: write NAMESPACE/NAME");
    }
    Ok(ObjectName::new(namespace, name))
}
