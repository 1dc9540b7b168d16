//! `windlass ami check`: whether a host or an image is what it was built to be.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;
use windlass_provision::ami::check::{self, CHECKS_PATH};
use windlass_provision::ami::{Check, Recipe, Scope};
use windlass_provision::cluster_config::ClusterConfig;

use super::host::Host;
use super::judge;
use crate::junit::{self, Case};
use crate::output::{self, Encoding};

/// Exit code when a property does not hold.
const FAULTY: u8 = 2;

#[derive(Args)]
pub(super) struct CheckArgs {
    /// Look at the image whose root is this directory; its programs are run in a chroot.
    #[arg(long, value_name = "DIR", conflicts_with = "live")]
    root: Option<PathBuf>,
    /// Look at the running host (as without --root): its kernel and its services too. What a host
    /// has of its own once it has booted, such as host keys, is no fault of it.
    #[arg(long)]
    live: bool,
    /// With --live: the host is about to become an image, and has nothing of its own.
    #[arg(long, conflicts_with = "root")]
    hygiene: bool,
    /// Hold it against this file (`kind: Cluster`) and not against what it was built as
    /// (`/etc/windlass/checks.json` of the host).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the list of properties as a file of goss, and look at nothing.
    #[arg(long)]
    emit_goss: bool,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A line for each property.
    Text,
    /// A list of objects.
    Json,
    /// A test suite.
    Junit,
}

/// What was found of a property.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    area: String,
    name: String,
    ok: bool,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let host = args.root.as_deref().map_or_else(Host::running, Host::at);
    let checks = checks(args, &host)?;
    if args.emit_goss {
        output::document(Encoding::Yaml, &check::as_goss(&checks))?;
        return Ok(ExitCode::SUCCESS);
    }
    let is_image = args.root.is_some() || args.hygiene;
    let findings: Vec<Finding> = checks
        .into_iter()
        .filter(|check| match check.property.scope() {
            Scope::Always => true,
            Scope::Running => host.is_running,
            Scope::Image => is_image,
        })
        .map(|check| {
            let fault = judge::judge(&check.property, &host).err();
            Finding {
                area: check.area,
                name: check.name,
                ok: fault.is_none(),
                fault,
            }
        })
        .collect();
    match args.output {
        Form::Text => output::data(&as_text(&findings))?,
        Form::Json => output::document(Encoding::Json, &findings)?,
        Form::Junit => output::data(&as_junit(&findings))?,
    }
    let is_right = findings.iter().all(|finding| finding.ok);
    Ok(if is_right {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAULTY)
    })
}

fn checks(args: &CheckArgs, host: &Host) -> anyhow::Result<Vec<Check>> {
    if let Some(path) = &args.config {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("read `{file}`"))?;
        let config = ClusterConfig::read(&file, &text)?;
        return Ok(Recipe::of(&config)?.checks());
    }
    if let Some(root) = args.root.as_deref().filter(|root| !root.is_dir()) {
        bail!("`{}` is no directory", root.display());
    }
    let bytes = host.read(CHECKS_PATH).with_context(|| {
        format!(
            "read `{CHECKS_PATH}` of the host, where an image says what it was built to be (hold it \
             against a file with --config)"
        )
    })?;
    serde_json::from_slice(&bytes).with_context(|| format!("`{CHECKS_PATH}` is no list of checks"))
}

fn as_text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|it| it.area.len()).max().unwrap_or(0);
    let mut text = String::new();
    // Writing into a String cannot fail.
    for finding in findings {
        let standing = if finding.ok { "ok  " } else { "FAIL" };
        let _ = write!(
            text,
            "{standing}  {:width$}  {}",
            finding.area, finding.name
        );
        if let Some(fault) = &finding.fault {
            let _ = write!(text, ": {fault}");
        }
        text.push('\n');
    }
    let right = findings.iter().filter(|finding| finding.ok).count();
    let _ = writeln!(text, "{right} of {} hold", findings.len());
    text
}

fn as_junit(findings: &[Finding]) -> String {
    let mut areas: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        areas.entry(&finding.area).or_default().push(finding);
    }
    let cases: Vec<Case> = areas
        .into_values()
        .flatten()
        .map(|finding| Case {
            class: format!("windlass.ami.{}", finding.area),
            name: finding.name.clone(),
            seconds: None,
            failure: finding.fault.clone(),
        })
        .collect();
    junit::document("windlass ami check", &cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        let finding = |area: &str, name: &str, fault: Option<&str>| Finding {
            area: area.to_owned(),
            name: name.to_owned(),
            ok: fault.is_none(),
            fault: fault.map(str::to_owned),
        };
        vec![
            finding("packages", "package runc", None),
            finding("kernel", "no swap", Some("/etc/fstab: <\"x\">")),
        ]
    }

    #[test]
    fn a_line_for_each_property_and_how_many_hold() {
        assert_eq!(
            as_text(&findings()),
            "ok    packages  package runc\nFAIL  kernel    no swap: /etc/fstab: <\"x\">\n1 of 2 hold\n"
        );
    }

    #[test]
    fn a_test_suite_says_why() {
        let xml = as_junit(&findings());
        assert!(xml.contains("tests=\"2\" failures=\"1\""), "{xml}");
        assert!(
            xml.contains("message=\"/etc/fstab: &lt;&quot;x&quot;&gt;\""),
            "{xml}"
        );
    }
}
