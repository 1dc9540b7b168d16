//! The command line.

mod output;

#[cfg(feature = "simulate")]
mod scenario_files;
#[cfg(feature = "simulate")]
mod simulate;

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
    /// Play a scenario: a simulated cluster, cloud and clock, and the production decisions.
    #[cfg(feature = "simulate")]
    Simulate(simulate::Args),
    /// Print the version.
    Version,
    /// Print a shell's completions.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        #[cfg(feature = "simulate")]
        Command::Simulate(args) => simulate::run(&args),
        Command::Version => output::data(&format!("windlass {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Completions { shell } => completions(shell),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
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

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
