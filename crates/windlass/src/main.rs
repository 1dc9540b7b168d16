//! The command line.

#[cfg(feature = "cluster")]
mod ami;
#[cfg(feature = "cluster")]
mod cluster_file;
#[cfg(feature = "cluster")]
mod csr_approver;
#[cfg(feature = "cluster")]
mod doctor;
#[cfg(feature = "cluster")]
mod duration;
#[cfg(feature = "simulate")]
mod explain;
#[cfg(feature = "cluster")]
mod hint;
#[cfg(feature = "cluster")]
mod iam;
#[cfg(feature = "cluster")]
mod interrupts;
#[cfg(feature = "cluster")]
mod join;
#[cfg(feature = "cluster")]
mod json;
#[cfg(feature = "cluster")]
mod junit;
#[cfg(feature = "cluster")]
mod logging;
#[cfg(feature = "cluster")]
mod manifests;
#[cfg(feature = "cluster")]
mod nodes;
mod output;
#[cfg(feature = "cluster")]
mod provision;
#[cfg(feature = "cluster")]
mod reach;
#[cfg(feature = "cluster")]
mod run;
#[cfg(feature = "cluster")]
mod runtime;
#[cfg(feature = "simulate")]
mod scenario_files;
mod scheduler_config;
#[cfg(feature = "simulate")]
mod simulate;
#[cfg(feature = "cluster")]
mod token;
#[cfg(feature = "cluster")]
mod userdata;
#[cfg(feature = "cluster")]
mod verify;

#[cfg(feature = "cluster")]
use std::ffi::OsString;
#[cfg(feature = "cluster")]
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Gives a Kubernetes cluster on AWS the nodes its pods need, and takes away those it does not.
#[derive(Parser)]
#[command(name = "windlass", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Autoscale a cluster. Its flags are the Go cluster-autoscaler's: see `windlass run --help`.
    #[cfg(feature = "cluster")]
    #[command(disable_help_flag = true)]
    Run {
        /// Flags, as `--flag=value` or `--flag value`.
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "FLAGS"
        )]
        flags: Vec<OsString>,
    },
    /// Play a scenario: a simulated cluster, cloud and clock, and the production decisions.
    #[cfg(feature = "simulate")]
    Simulate(simulate::Args),
    /// Make, list, delete and renew the credential that nodes join with.
    #[cfg(feature = "cluster")]
    Token(token::TokenArgs),
    /// Render what a new instance runs to become a node.
    #[cfg(feature = "cluster")]
    Userdata(userdata::UserDataArgs),
    /// Print or check the permissions that Windlass needs on AWS.
    #[cfg(feature = "cluster")]
    Iam(iam::IamArgs),
    /// Plan, make, compare and delete the AWS resources of the node groups.
    #[cfg(feature = "cluster")]
    Provision(provision::ProvisionArgs),
    /// Build, describe and check the machine image of the nodes.
    #[cfg(feature = "cluster")]
    Ami(ami::AmiArgs),
    /// Look at every precondition, change nothing, and say what to do.
    #[cfg(feature = "cluster")]
    Doctor(doctor::DoctorArgs),
    /// Prove on a live cluster that pods bring nodes, and that nodes go with them.
    #[cfg(feature = "cluster")]
    Verify(verify::VerifyArgs),
    /// Render what is applied to the cluster, or mend an old manifest.
    #[cfg(feature = "cluster")]
    Manifests(manifests::ManifestsArgs),
    /// Make this instance a node of its cluster.
    #[cfg(feature = "cluster")]
    Join(join::JoinArgs),
    /// Approve the certificate requests of the cluster's own instances, and deny the others.
    #[cfg(feature = "cluster")]
    CsrApprover(csr_approver::ApproverArgs),
    /// Say why a pod is pending, why a node is not removed, why a group does not grow.
    #[cfg(feature = "simulate")]
    Explain(explain::Args),
    /// Print the version.
    Version {
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t = output::Format::Text)]
        output: output::Format,
    },
    /// Print a shell's completions.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    #[cfg(feature = "cluster")]
    if let Some(flags) = drop_in_flags(std::env::args_os()) {
        return run::run(&flags);
    }
    let result = match Cli::parse().command {
        #[cfg(feature = "cluster")]
        Command::Run { flags } => return run::run(&flags),
        #[cfg(feature = "simulate")]
        Command::Simulate(args) => simulate::run(&args).map(succeeded),
        #[cfg(feature = "simulate")]
        Command::Explain(args) => explain::run(&args).map(succeeded),
        #[cfg(feature = "cluster")]
        Command::Token(args) => token::run(&args),
        #[cfg(feature = "cluster")]
        Command::Userdata(args) => userdata::run(&args),
        #[cfg(feature = "cluster")]
        Command::Iam(args) => iam::run(&args),
        #[cfg(feature = "cluster")]
        Command::Ami(args) => ami::run(&args),
        #[cfg(feature = "cluster")]
        Command::Manifests(args) => manifests::run(&args),
        #[cfg(feature = "cluster")]
        Command::Join(args) => join::run(&args),
        #[cfg(feature = "cluster")]
        Command::CsrApprover(args) => csr_approver::run(&args),
        #[cfg(feature = "cluster")]
        Command::Provision(args) => provision::run(&args),
        #[cfg(feature = "cluster")]
        Command::Verify(args) => verify::run(&args),
        #[cfg(feature = "cluster")]
        Command::Doctor(args) => doctor::run(&args),
        Command::Version { output } => print_version(output).map(succeeded),
        Command::Completions { shell } => completions(shell).map(succeeded),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

/// The name of the Go autoscaler: started under it, this program is `windlass run`.
#[cfg(feature = "cluster")]
const DROP_IN_NAME: &str = "cluster-autoscaler";

/// The flags, where the program was started under the Go autoscaler's name.
#[cfg(feature = "cluster")]
fn drop_in_flags(mut arguments: impl Iterator<Item = OsString>) -> Option<Vec<OsString>> {
    let program = arguments.next()?;
    let name = Path::new(&program).file_name()?;
    (name == DROP_IN_NAME).then(|| arguments.collect())
}

/// The exit code of a command that knows success and failure alone.
fn succeeded((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

fn print_version(format: output::Format) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    match format.encoding() {
        None => output::data(&format!("windlass {version}\n")),
        Some(encoding) => {
            let document = serde_json::json!({"name": "windlass", "version": version});
            output::document(encoding, &document)
        }
    }
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "windlass", &mut script);
    output::data(&String::from_utf8_lossy(&script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "cluster")]
    #[test]
    fn under_the_go_autoscalers_name_all_arguments_are_flags() {
        let flags = |line: &str| drop_in_flags(line.split(' ').map(OsString::from));
        assert_eq!(
            flags("/usr/local/bin/cluster-autoscaler --v=4 --nodes 1:2:a"),
            Some(["--v=4", "--nodes", "1:2:a"].map(OsString::from).to_vec())
        );
        assert_eq!(flags("/bin/windlass run --v=4"), None);
    }

    #[cfg(feature = "cluster")]
    #[test]
    fn run_takes_its_flags_as_they_are() {
        let cli = Cli::parse_from(["windlass", "run", "--v=4", "--nodes", "1:2:a", "-h"]);
        let Command::Run { flags } = cli.command else {
            panic!("run");
        };
        assert_eq!(
            flags,
            ["--v=4", "--nodes", "1:2:a", "-h"].map(OsString::from)
        );
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
