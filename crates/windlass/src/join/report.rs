//! What is said, and where: the journal (standard error), a log file, the console at the end.

use std::fs::File;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use serde_json::json;
use windlass_aws_client::Secret;
use windlass_provision::join::Phase;

use super::files::Paths;
use super::{Joined, Stop};
use crate::output;

pub(super) struct Report {
    log: Mutex<Option<File>>,
    /// What must not be said.
    secrets: Mutex<Vec<Secret>>,
    console: Option<File>,
    status: Option<std::path::PathBuf>,
}

impl Report {
    /// A log file or a console that cannot be opened is done without: a join is worth more.
    pub(super) fn start(paths: &Paths, dry_run: bool) -> Self {
        let log = (!dry_run).then(|| paths.open_log().ok()).flatten();
        let console = (!dry_run && paths.is_whole_system())
            .then(|| File::options().append(true).open("/dev/console").ok())
            .flatten();
        Self {
            log: Mutex::new(log),
            secrets: Mutex::default(),
            console,
            status: (!dry_run).then(|| paths.status()),
        }
    }

    /// From here on this is masked wherever it turns up, kubeadm's own output included.
    pub(super) fn keep_secret(&self, secret: Secret) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if !secrets.contains(&secret) {
            secrets.push(secret);
        }
    }

    fn masked(&self, text: &str) -> String {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        mask(text, &secrets)
    }

    pub(super) fn say(&self, text: &str) {
        let line = format!("windlass-join: {}", self.masked(text));
        output::talk(&line);
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = log.as_mut() {
            let _ = writeln!(log, "{} {line}", Timestamp::now());
        }
    }

    /// The last line; gives the exit code.
    pub(super) fn end(
        &self,
        result: &Result<Joined, Stop>,
        was_budget_spent: bool,
        begun: Instant,
    ) -> u8 {
        let seconds = begun.elapsed().as_secs();
        let (name, code, phase, why) = match result {
            Ok(joined) => (joined.name(), 0, None, String::new()),
            Err(stop) => {
                let code = if was_budget_spent {
                    Phase::BUDGET_SPENT
                } else {
                    stop.phase.exit_code()
                };
                ("failed", code, Some(stop.phase), self.masked(&stop.why))
            }
        };
        let phase_word = phase.map_or_else(String::new, |phase| format!(" phase={phase}"));
        let why_word = if why.is_empty() {
            String::new()
        } else {
            format!(" why={why}")
        };
        let line = format!("result={name} code={code}{phase_word} seconds={seconds}{why_word}");
        self.say(&line);
        if let Some(console) = &self.console {
            let _ = writeln!(&*console, "windlass-join: {line}");
        }
        if let Some(status) = &self.status {
            let status_text = json!({
                "result": name, "code": code, "phase": phase.map(Phase::name),
                "seconds": seconds, "why": why, "time": Timestamp::now().to_string(),
            });
            let _ = std::fs::write(status, format!("{status_text}\n"));
        }
        code
    }
}

fn mask(text: &str, secrets: &[Secret]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| {
        text.replace(secret.expose(), &"*".repeat(secret.expose().len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_turn_up() {
        let secrets = [Secret::new("0123456789abcdef")];
        assert_eq!(
            mask("token abcdef.0123456789abcdef, 0123456789abcdef", &secrets),
            "token abcdef.****************, ****************"
        );
    }
}
