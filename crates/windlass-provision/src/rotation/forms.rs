/// What runs `windlass token rotate` on a control-plane node; all of them at once do no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A systemd service that looks again and again.
    Service,
    /// A systemd service and its timer.
    Timer,
    /// A file for `/etc/cron.d`.
    Cron,
}

const PROGRAM: &str = "/usr/local/bin/windlass";
const NAME: &str = "windlass-token-rotator";

impl Form {
    /// The text, with these flags for `windlass token rotate`.
    pub fn render(self, flags: &[String]) -> String {
        match self {
            Self::Service => service(&systemd_command("--daemon", flags), SERVICE_TAIL),
            Self::Timer => {
                let service = service(&systemd_command("--once", flags), ONESHOT_TAIL);
                format!(
                    "# /etc/systemd/system/{NAME}.service\n{service}\n\
                     # /etc/systemd/system/{NAME}.timer\n\
                     [Unit]\nDescription=Keep the join credential fresh\n\n\
                     [Timer]\nOnBootSec=1min\nOnUnitActiveSec=5min\nAccuracySec=10s\n\n\
                     [Install]\nWantedBy=timers.target\n"
                )
            }
            Self::Cron => {
                let flags = words(flags, cron_word);
                format!(
                    "# /etc/cron.d/{NAME}\n\
                     # Exit codes 3 and 4 are failures: have cron's mail read, or watch the metrics.\n\
                     SHELL=/bin/sh\n\
                     */5 * * * * root {PROGRAM} token rotate --once{flags} 2>&1 | logger -t {NAME}\n"
                )
            }
        }
    }
}

const SERVICE_TAIL: &str = "Restart=always\nRestartSec=10s\n\n\
    [Install]\nWantedBy=multi-user.target\n";
const ONESHOT_TAIL: &str = "Type=oneshot\n# Failed, and the published token is still good: the timer \
    comes again.\nSuccessExitStatus=3\n";

fn service(command: &str, tail: &str) -> String {
    format!(
        "[Unit]\nDescription=Keep the join credential fresh\nWants=network-online.target\n\
         After=network-online.target\n\n\
         [Service]\nExecStart={command}\nNoNewPrivileges=yes\nProtectSystem=full\n\
         ProtectHome=read-only\nPrivateTmp=yes\n{tail}"
    )
}

fn systemd_command(mode: &str, flags: &[String]) -> String {
    let flags = words(flags, systemd_word);
    format!("{PROGRAM} token rotate {mode}{flags}")
}

/// The flags as words of a command line, each with a blank before it.
fn words(flags: &[String], quote: fn(&str) -> String) -> String {
    flags
        .iter()
        .fold(String::new(), |line, flag| line + " " + &quote(flag))
}

/// Whether a word needs no quoting anywhere.
fn is_plain(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./:=,@+".contains(&byte))
}

/// A word that systemd reads as this text and nothing else.
fn systemd_word(word: &str) -> String {
    if is_plain(word) {
        return word.to_owned();
    }
    let escaped = word
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%")
        .replace('$', "$$")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}

/// A word that cron's shell reads as this text; cron itself takes an unescaped `%` as a new line.
fn cron_word(word: &str) -> String {
    if is_plain(word) {
        return word.to_owned();
    }
    format!(
        "'{}'",
        word.replace('\'', "'\\''")
            .replace('%', "\\%")
            .replace('\n', " ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> Vec<String> {
        ["--cluster", "prod", "--kms-key", "alias/windlass"]
            .map(str::to_owned)
            .into()
    }

    #[test]
    fn every_form_runs_the_same_flags() {
        let words = "--cluster prod --kms-key alias/windlass";
        let service = Form::Service.render(&flags());
        let command = format!("ExecStart={PROGRAM} token rotate --daemon {words}\n");
        assert!(service.contains(&command), "{service}");
        let timer = Form::Timer.render(&flags());
        assert!(
            timer.contains(&format!("token rotate --once {words}\n")),
            "{timer}"
        );
        assert!(timer.contains("OnUnitActiveSec=5min"), "{timer}");
        let cron = Form::Cron.render(&flags());
        assert!(
            cron.contains(&format!("root {PROGRAM} token rotate --once {words} 2>&1")),
            "{cron}"
        );
    }

    #[test]
    fn odd_words_stay_one_word() {
        assert_eq!(systemd_word("a b$c%d\"e"), "\"a b$$c%%d\\\"e\"");
        assert_eq!(cron_word("it's 5%"), "'it'\\''s 5\\%'");
    }
}
