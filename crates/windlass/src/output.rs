//! What is printed: data to standard output, talk to standard error.

use std::io::{self, ErrorKind, Write};

use clap::ValueEnum;

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Prints data. A reader that has read enough, such as `head`, is no error.
pub(crate) fn data(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("write to standard output"))
        }
        _ => Ok(()),
    }
}

/// Prints talk. Where nobody listens nothing is lost.
pub(crate) fn talk(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints an error with its causes, a line each.
pub(crate) fn error(error: &anyhow::Error) {
    talk(&format!("error: {error}"));
    for cause in error.chain().skip(1) {
        talk(&format!("  cause: {cause}"));
    }
}
