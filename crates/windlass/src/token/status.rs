use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use windlass_provision::document::DocumentError;

use super::connection::{self, ParameterArgs};
use super::live::{self, Told};
use super::{duration, rounded};
use crate::output::{self, Format};

/// Arguments of `windlass token status`.
#[derive(Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    parameter: ParameterArgs,
    /// Longest time from a node's reading of the token to its own certificate: with less life
    /// left, nodes fail to join (exit code 2).
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    boot_budget: Duration,
    /// How much a renewal may slip: with less than half of it left over the boot budget, somebody
    /// should look (exit code 1).
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    lateness: Duration,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Good,
    Warn,
    Page,
}

impl Level {
    fn of(remaining: Duration, args: &StatusArgs) -> Self {
        if remaining < args.boot_budget {
            Self::Page
        } else if remaining < args.boot_budget + args.lateness / 2 {
            Self::Warn
        } else {
            Self::Good
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Page => "page",
        }
    }

    fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Good => 0,
            Self::Warn => 1,
            Self::Page => 2,
        })
    }
}

pub(super) async fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let parameter = args.parameter.name()?;
    let client = connection::aws(&args.parameter).await?;
    let read = live::read(&client, &parameter).await?;
    let level = match &read {
        Some(Ok(told)) => Level::of(told.remaining, args),
        Some(Err(_)) | None => Level::Page,
    };
    let Some(encoding) = args.output.encoding() else {
        output::data(&as_text(&parameter, read.as_ref(), level))?;
        return Ok(level.exit_code());
    };
    let document = match &read {
        Some(Ok(told)) => json!({
            "parameter": parameter,
            "level": level.name(),
            "token": told.token.as_str(),
            "endpoint": told.endpoint,
            "caHashes": told.pins,
            "ageSeconds": told.age.as_secs(),
            "remainingSeconds": told.remaining.as_secs(),
            "expires": told.expires.to_string(),
            "by": told.by,
        }),
        Some(Err(problem)) => json!({
            "parameter": parameter, "level": level.name(), "problem": problem.to_string(),
        }),
        None => json!({
            "parameter": parameter, "level": level.name(), "problem": "there is no parameter",
        }),
    };
    output::document(encoding, &document)?;
    Ok(level.exit_code())
}

fn as_text(parameter: &str, read: Option<&Result<Told, DocumentError>>, level: Level) -> String {
    let level = level.name();
    match read {
        Some(Ok(told)) => format!(
            "{level}: `{parameter}` holds token {}.{} for {}, {} old, good for {} (until {}), \
             published by {}\n",
            told.token,
            "*".repeat(16),
            told.endpoint,
            rounded(told.age),
            rounded(told.remaining),
            told.expires,
            told.by,
        ),
        Some(Err(problem)) => format!("{level}: `{parameter}` cannot be used: {problem}\n"),
        None => format!("{level}: there is no parameter `{parameter}`\n"),
    }
}
