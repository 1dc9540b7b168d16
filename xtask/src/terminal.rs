//! Talk, on standard error; data goes to standard output.

use std::time::Duration;

#[expect(clippy::print_stderr, reason = "the one place where xtask talks")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

#[expect(clippy::print_stdout, reason = "the one place where xtask prints data")]
pub(crate) fn print(line: &str) {
    println!("{line}");
}

/// `4 s`, `12 min 05 s`.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds / 60 {
        0 => format!("{seconds} s"),
        minutes => format!("{minutes} min {:02} s", seconds % 60),
    }
}
