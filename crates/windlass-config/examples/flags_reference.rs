//! Prints the reference page of the flags: `docs/flags.md` holds what it prints.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    io::stdout().write_all(windlass_config::reference().as_bytes())
}
