//! The front door: `cargo xtask fmt|lint|test|doc|bench|testbed|gen|dist`.
//!
//! What a newcomer types and what CI runs are the same names. The program compiles in seconds: it
//! runs cargo and the test bed as programs of their own and links neither.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

mod bench;
mod cargo;
mod dist;
mod end_to_end;
mod generate;
mod instructions;
mod suites;
mod terminal;
mod tests;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  fmt                      formats the sources
  lint                     formatting and clippy, warnings being errors
  test [--fast]            every test; --fast leaves out the suites that need real parts
  test --end-to-end        the suites that need real parts alone
  test --suite NAME        one of them
  doc                      the documentation, warnings being errors
  bench                    times and peak memory of decisions, as JSON
  instructions [--write]   whether a hot path takes more instructions than recorded; or records them
  testbed up|down|status   a control plane, moto and kwok to try things on
  gen [--check]            writes generated files anew, or says which are stale
  dist                     a static release build, packed, with its checksum";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["fmt"] => cargo::run(&["fmt", "--all"]),
        ["lint"] => lint(),
        ["test"] => tests::run(&tests::Scope::All),
        ["test", "--fast"] => tests::run(&tests::Scope::Fast),
        ["test", "--end-to-end"] => tests::run(&tests::Scope::EndToEnd),
        ["test", "--suite", name] => tests::run(&tests::Scope::Suite((*name).to_owned())),
        ["doc"] => cargo::run_with(
            &["doc", "--workspace", "--no-deps"],
            &[("RUSTDOCFLAGS", "-D warnings")],
        ),
        ["bench", rest @ ..] => bench::run(rest),
        ["instructions"] => instructions::check(),
        ["instructions", "--write"] => instructions::write(),
        ["testbed", rest @ ..] => testbed(rest),
        ["gen"] => generate::run(generate::Mode::Write),
        ["gen", "--check"] => generate::run(generate::Mode::Check),
        ["dist"] => dist::run(),
        ["help" | "--help" | "-h"] => {
            terminal::print(USAGE);
            Ok(())
        }
        _ => bail!("{USAGE}"),
    }
}

fn lint() -> Result<()> {
    cargo::run(&["fmt", "--all", "--check"])?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--features",
        "windlass-aws/moto-tests",
        "--",
        "-D",
        "warnings",
    ];
    cargo::run(&clippy)?;
    // What the README's first command builds has no other check that it stands alone.
    let simulate = [
        "clippy",
        "--package",
        "windlass",
        "--all-targets",
        "--no-default-features",
    ];
    cargo::run(
        &[
            &simulate[..],
            &["--features", "simulate", "--", "-D", "warnings"],
        ]
        .concat(),
    )
}

fn testbed(arguments: &[&str]) -> Result<()> {
    // As the suites are built, and with one of them, so that both share every dependency.
    let mut build = vec!["build", "--quiet"];
    build.extend(end_to_end::SELECTION);
    build.extend(["--bin", "testbed", "--test", "testbed"]);
    cargo::run(&build)?;
    let program = cargo::target_directory().join("debug").join("testbed");
    let status = Command::new(&program)
        .args(arguments)
        .status()
        .with_context(|| format!("run `{}`", program.display()))?;
    if !status.success() {
        bail!("the test bed: {status}");
    }
    Ok(())
}
