//! `windlass doctor`: every precondition, read-only, one line each with what to do.

mod aws;
mod credential;
mod kubernetes;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use windlass_provision::cluster_config::ClusterConfig;

use crate::cluster_file::ConfigArgs;
use crate::duration;
use crate::output::{self, Format};
use crate::runtime;

/// Exit code when something should be looked at.
const WARNED: u8 = 1;
/// Exit code when something does not work.
const FAILED: u8 = 2;

/// Pause between two looks with `--wait`.
const PAUSE: Duration = Duration::from_secs(2);

/// Arguments of `windlass doctor`.
#[derive(Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Path of a kubeconfig; without it the pod's own service account is used.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<String>,
    /// Look again, for so long, while something does not work: what was just applied takes its time.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration::parse)]
    wait: Duration,
    /// Also try a bootstrap token: make one of five minutes, log in with it, wait for its signature,
    /// and delete it.
    #[arg(long)]
    probe: bool,
    /// How the findings are printed.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// How a precondition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Standing {
    Ok,
    Warning,
    Failed,
}

/// One precondition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    standing: Standing,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// Collects findings.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, what: impl Into<String>) {
        self.0.push(Finding {
            standing: Standing::Ok,
            what: what.into(),
            fix: None,
        });
    }

    fn warn(&mut self, what: impl Into<String>, fix: impl Into<String>) {
        self.add(Standing::Warning, what, fix);
    }

    fn fail(&mut self, what: impl Into<String>, fix: impl Into<String>) {
        self.add(Standing::Failed, what, fix);
    }

    fn add(&mut self, standing: Standing, what: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Finding {
            standing,
            what: what.into(),
            fix: Some(fix.into()),
        });
    }

    fn worst(&self) -> Standing {
        let standings = self.0.iter().map(|finding| finding.standing);
        standings.max().unwrap_or(Standing::Ok)
    }

    /// What does not work.
    fn failed(&self) -> impl Iterator<Item = &str> {
        let failed = self.0.iter().filter(|it| it.standing == Standing::Failed);
        failed.map(|finding| finding.what.as_str())
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        for Finding {
            standing,
            what,
            fix,
        } in &self.0
        {
            let mark = match standing {
                Standing::Ok => "ok    ",
                Standing::Warning => "warn  ",
                Standing::Failed => "FAIL  ",
            };
            text.push_str(mark);
            text.push_str(what);
            if let Some(fix) = fix {
                text.push_str("  → ");
                text.push_str(fix);
            }
            text.push('\n');
        }
        text
    }
}

pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let findings = match args.config.read() {
        Err(error) => {
            let mut findings = Findings::default();
            findings.fail(format!("{error:#}"), "mend the file");
            findings
        }
        Ok(config) => runtime::block_on(Box::pin(patiently(args, &config)))?,
    };
    match args.output.encoding() {
        None => output::data(&findings.to_text())?,
        Some(encoding) => output::document(encoding, &findings.0)?,
    }
    Ok(match findings.worst() {
        Standing::Ok => ExitCode::SUCCESS,
        Standing::Warning => ExitCode::from(WARNED),
        Standing::Failed => ExitCode::from(FAILED),
    })
}

/// Looks until everything works or the time is over.
async fn patiently(args: &DoctorArgs, config: &ClusterConfig) -> Findings {
    let begun = Instant::now();
    let mut told = String::new();
    loop {
        let findings = look(args, config).await;
        let failed: Vec<&str> = findings.failed().collect();
        if failed.is_empty() || args.wait <= begun.elapsed() {
            return findings;
        }
        let waiting = failed.join("; ");
        if waiting != told {
            output::talk(&format!("waiting: {waiting}"));
            told = waiting;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Looks once.
async fn look(args: &DoctorArgs, config: &ClusterConfig) -> Findings {
    let mut findings = Findings::default();
    let groups = config.spec.groups.len();
    findings.ok(format!("the configuration is valid ({groups} groups)"));
    let published = aws::look(config, &mut findings).await;
    kubernetes::look(config, args, published.as_ref(), &mut findings).await;
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_tells_how_it_stands_and_what_to_do() {
        let mut findings = Findings::default();
        findings.ok("a");
        findings.warn("b", "do c");
        assert_eq!(findings.to_text(), "ok    a\nwarn  b  → do c\n");
        assert_eq!(findings.worst(), Standing::Warning);
    }
}
