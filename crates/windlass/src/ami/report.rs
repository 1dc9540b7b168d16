//! `windlass ami report`: a builder says how far it is.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use windlass_aws_client::ssm::PutParameter;
use windlass_aws_client::{Client, Options, Secret};
use windlass_provision::ami::report::{self, Report, State};

use crate::runtime;

#[derive(Args)]
pub(super) struct ReportArgs {
    /// The region.
    #[arg(long, value_name = "REGION")]
    region: String,
    /// Which build.
    #[arg(long, value_name = "ID")]
    build: String,
    /// How far it is.
    #[arg(long, value_enum)]
    state: StateName,
    /// File with the script's lines.
    #[arg(long, value_name = "FILE")]
    sections: PathBuf,
    /// File whose end says why it failed.
    #[arg(long, value_name = "FILE")]
    log: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StateName {
    Running,
    Succeeded,
    Failed,
}

pub(super) fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    runtime::block_on(report(args))?
}

async fn report(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let read = |path: &PathBuf| {
        let bytes = fs::read(path).with_context(|| format!("read `{}`", path.display()))?;
        anyhow::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (state, why) = match args.state {
        StateName::Running => (State::Running, String::new()),
        StateName::Succeeded => (State::Succeeded, String::new()),
        StateName::Failed => (State::Failed, read(&args.log)?),
    };
    let report = Report::new(&args.build, state, &read(&args.sections)?, &why);
    let options = Options {
        region: Some(args.region.clone()),
        ..Options::default()
    };
    let client = Client::connect(options).await?;
    let name = report::parameter(&args.build);
    let value = Secret::new(report.to_json());
    let parameter = PutParameter {
        name: &name,
        value: &value,
        description: "How far the build of a machine image is",
        encryption: None,
        overwrite: true,
    };
    client.ssm().put_parameter(&parameter).await?;
    Ok(ExitCode::SUCCESS)
}
