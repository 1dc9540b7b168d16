//! kubeadm, systemctl and an operator's own commands, as processes.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use windlass_provision::join::Phase;

use super::files::Paths;
use super::{Context, Stop};

/// Longest time for one run of kubeadm.
const LONGEST_RUN: Duration = Duration::from_mins(5);
/// Time between SIGTERM and SIGKILL.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Time for the kubelet's unit to start or stop: systemd itself waits 90 s.
const SERVICE_TIMEOUT: Duration = Duration::from_mins(2);
/// Time for a program that only tells its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) fn command(program: &OsStr, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        // Ended as a whole: what kubeadm has started must not go on when it is ended.
        .process_group(0);
    command
}

/// The version that `kubeadm version -o short` or `kubelet --version` tells, such as `v1.36.3`.
pub(super) async fn version_of(program: &OsStr, arguments: &[&str]) -> Result<String, Stop> {
    let name = program.to_string_lossy();
    let failed = |why: String| Stop::for_good(Phase::Preflight, format!("{name}: {why}"));
    let output = tokio::time::timeout(VERSION_TIMEOUT, command(program, arguments).output())
        .await
        .map_err(|_| failed("does not tell its version in time".to_owned()))?
        .map_err(|error| failed(format!("does not run ({error})")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().find(|word| word.starts_with("v1."));
    version
        .map(str::to_owned)
        .ok_or_else(|| failed("tells no version".to_owned()))
}

pub(super) async fn start_kubelet(paths: &Paths) -> Result<(), Stop> {
    kubelet_service(paths, "start").await
}

pub(super) async fn stop_kubelet(paths: &Paths) -> Result<(), Stop> {
    kubelet_service(paths, "stop").await
}

async fn kubelet_service(paths: &Paths, verb: &str) -> Result<(), Stop> {
    let failed = |why: String| {
        Stop::for_now(
            Phase::AlreadyJoined,
            format!("cannot {verb} the kubelet: {why}"),
        )
    };
    let status = command(&paths.systemctl, &[verb, "kubelet"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let status = tokio::time::timeout(SERVICE_TIMEOUT, status)
        .await
        .map_err(|_| failed("systemctl had not ended in time".to_owned()))?
        .map_err(|error| failed(error.to_string()))?;
    if status.success() {
        Ok(())
    } else {
        Err(failed(format!("systemctl: {status}")))
    }
}

/// Powers the machine off.
pub(super) async fn power_off(paths: &Paths) -> std::io::Result<()> {
    command(&paths.systemctl, &["poweroff"])
        .status()
        .await
        .map(drop)
}

/// Why a program did not come to a good end.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It could not be run.
    NotRun(std::io::Error),
    /// It was ended: its time was over.
    Late(Duration),
    /// It was ended for another reason.
    Ended(String),
    /// It failed, with what it said or its status.
    Failed(String),
}

impl Trouble {
    /// In a line, about the program that is called so.
    pub(super) fn told_of(&self, name: &str) -> String {
        match self {
            Self::NotRun(error) => format!("{name} does not run: {error}"),
            Self::Late(time) => format!("{name} had not ended after {} s", time.as_secs()),
            Self::Ended(why) => why.clone(),
            Self::Failed(why) => format!("{name}: {why}"),
        }
    }
}

/// Runs a program within a time, its output in the log under `name`. It is ended with all that it
/// has started as soon as `ended` says why.
pub(super) async fn run(
    context: &Context<'_>,
    name: &str,
    mut command: Command,
    deadline: Duration,
    ended: impl Future<Output = String>,
) -> Result<(), Trouble> {
    let mut child = command.spawn().map_err(Trouble::NotRun)?;
    let mut last_error = LastError::default();
    let end = {
        let streams = streamed(context, name, &mut child, &mut last_error);
        tokio::select! {
            biased;
            end = streams => Ok(end),
            why = ended => Err(Trouble::Ended(why)),
            () = tokio::time::sleep(deadline) => Err(Trouble::Late(deadline)),
        }
    };
    let status = match end {
        Ok(status) => status.map_err(Trouble::NotRun)?,
        Err(trouble) => {
            end_group(&mut child).await;
            return Err(trouble);
        }
    };
    if status.success() {
        return Ok(());
    }
    let why = last_error.text();
    Err(Trouble::Failed(if why.is_empty() {
        status.to_string()
    } else {
        why
    }))
}

/// Runs `kubeadm join` within the time that is left. The error has the line that says why. It is
/// ended as soon as `denied` says why it waits in vain.
pub(super) async fn join(
    context: &Context<'_>,
    denied: impl Future<Output = String>,
) -> Result<(), Stop> {
    let configuration = context.paths.join_configuration();
    let configuration = configuration.to_string_lossy();
    let join = command(
        &context.paths.kubeadm,
        &["join", "--config", &*configuration],
    );
    let deadline = LONGEST_RUN.min(context.time_left());
    run(context, "kubeadm", join, deadline, denied)
        .await
        .map_err(|trouble| {
            let why = trouble.told_of("kubeadm join");
            match trouble {
                Trouble::Late(time) if time < LONGEST_RUN => Stop::cut_short(Phase::Kubeadm, why),
                _ => Stop::for_now(Phase::Kubeadm, why),
            }
        })
}

/// Undoes what a join that failed has left behind: its files and the kubelet's port would fail
/// the next one's checks.
pub(super) async fn reset(context: &Context<'_>) {
    let arguments = [
        "reset",
        "--force",
        "--cri-socket",
        &context.config.cri_socket,
    ];
    let run = command(&context.paths.kubeadm, &arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match tokio::time::timeout(LONGEST_RUN.min(context.time_left()), run).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => context.report.say(&format!("kubeadm reset: {status}")),
        Ok(Err(error)) => context.report.say(&format!("kubeadm reset: {error}")),
        Err(_) => context.report.say("kubeadm reset had not ended in time"),
    }
}

async fn streamed(
    context: &Context<'_>,
    name: &str,
    child: &mut Child,
    last_error: &mut LastError,
) -> std::io::Result<std::process::ExitStatus> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (heard, ()) = tokio::join!(lines(context, name, stderr), async {
        lines(context, name, stdout).await;
    });
    *last_error = heard;
    child.wait().await
}

async fn lines(
    context: &Context<'_>,
    name: &str,
    stream: Option<impl AsyncRead + Unpin>,
) -> LastError {
    let mut heard = LastError::default();
    let Some(stream) = stream else {
        return heard;
    };
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        context.report.say(&format!("{name}: {line}"));
        heard.hear(&line);
    }
    heard
}

/// What kubeadm gave as the reason of its end, picked from what it said.
#[derive(Debug, Default)]
struct LastError {
    lines: Vec<String>,
}

impl LastError {
    fn hear(&mut self, line: &str) {
        let line = line.trim();
        // A library's log, such as of a call that the container runtime does not know.
        if is_klog(line) {
            return;
        }
        let is_error = ["error:", "error execution", "[ERROR", "failed", "timed out"]
            .iter()
            .any(|word| line.contains(word));
        if is_error && !line.starts_with("To see the stack trace") {
            self.lines.push(line.to_owned());
        }
    }

    fn text(&self) -> String {
        let mut lines: Vec<&str> = Vec::new();
        for line in self.lines.iter().rev() {
            if !lines.contains(&line.as_str()) {
                lines.push(line);
            }
            if lines.len() == 2 {
                break;
            }
        }
        lines.reverse();
        lines.join("; ")
    }
}

/// Whether a line is one of klog's: a letter for the severity, month and day.
fn is_klog(line: &str) -> bool {
    let mut bytes = line.bytes();
    bytes.next().is_some_and(|byte| b"IWEF".contains(&byte))
        && bytes.by_ref().take(4).filter(u8::is_ascii_digit).count() == 4
        && bytes.next() == Some(b' ')
}

async fn end_group(child: &mut Child) {
    let signal = |child: &Child, signal| {
        let id = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let Some(id) = id {
            // Not waited for yet, so the number is still its own.
            let _ = kill_process_group(id, signal);
        }
    };
    signal(child, Signal::TERM);
    if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
        signal(child, Signal::KILL);
        let _ = child.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_picked_from_what_kubeadm_says() {
        let mut heard = LastError::default();
        for line in [
            "[preflight] Running pre-flight checks",
            "E1126 02:24:11.450772     322 remote_runtime.go:1177] \"RuntimeConfig failed\"",
            "error execution phase preflight: [preflight] Some fatal errors occurred:",
            "\t[ERROR Port-10250]: Port 10250 is in use",
            "To see the stack trace of this error execute with --v=5 or higher",
        ] {
            heard.hear(line);
        }
        assert_eq!(
            heard.text(),
            "error execution phase preflight: [preflight] Some fatal errors occurred:; \
             [ERROR Port-10250]: Port 10250 is in use"
        );
    }
}
