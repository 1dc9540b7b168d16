//! `cargo xtask testbed up|down|status`: a test bed that stays until it is told to end.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use windlass_testbed::{Options, Testbed, User, processes_of, wait_for};

const USAGE: &str = "usage: testbed up [--boot-time SECONDS] | down | status";

/// Longest time from `up` to the test bed's readiness, the parts being built.
const START: Duration = Duration::from_mins(3);
/// Longest time for all parts to end.
const END: Duration = Duration::from_mins(1);

/// What `up` leaves for `down`, `status` and people.
#[derive(Deserialize, Serialize)]
struct State {
    /// The process that `down` ends.
    pid: i32,
    directory: PathBuf,
    kubeconfig: PathBuf,
    api_server: String,
    aws: String,
    logs: PathBuf,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["up"] => up("1"),
        ["up", "--boot-time", seconds] => up(seconds),
        ["down"] => down(),
        ["status"] => status(),
        ["serve", directory, boot_time] => serve(Path::new(directory), boot_time),
        _ => Err(anyhow::anyhow!("{USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One test bed for each user of the machine.
fn home() -> PathBuf {
    std::env::temp_dir().join(format!(
        "windlass-testbed-of-{}",
        rustix::process::getuid().as_raw()
    ))
}

fn state_file() -> PathBuf {
    home().join("state.json")
}

/// The state of the test bed that runs, if one does.
fn running() -> Result<Option<State>> {
    let path = state_file();
    let Ok(text) = fs::read(&path) else {
        return Ok(None);
    };
    let state: State =
        serde_json::from_slice(&text).with_context(|| format!("read `{}`", path.display()))?;
    // The number may have been given to another process since.
    let command = fs::read(format!("/proc/{}/cmdline", state.pid)).unwrap_or_default();
    let directory = state.directory.as_os_str().as_encoded_bytes();
    let is_ours = command
        .split(|byte| *byte == 0)
        .any(|argument| argument == directory);
    Ok(is_ours.then_some(state))
}

fn up(boot_time: &str) -> Result<()> {
    if let Some(state) = running()? {
        say("a test bed is up already");
        show(&state);
        return Ok(());
    }
    let _: f64 = boot_time
        .parse()
        .context("--boot-time is a number of seconds")?;
    // Here, where whoever waits can see it; the serving process then finds all parts.
    windlass_parts::Parts::ensure(&mut say)?;
    let home = home();
    if home.exists() {
        fs::remove_dir_all(&home).with_context(|| format!("remove `{}`", home.display()))?;
    }
    fs::create_dir_all(&home).with_context(|| format!("create `{}`", home.display()))?;
    let log_path = home.join("serve.log");
    let log =
        File::create(&log_path).with_context(|| format!("create `{}`", log_path.display()))?;
    let mut server = Command::new(std::env::current_exe().context("find this program")?)
        .arg("serve")
        .arg(home.join("bed"))
        .arg(boot_time)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("duplicate a handle")?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("start the serving process")?;
    let state = wait_for("the test bed to be up", START, || {
        let has_ended = server.try_wait()?.is_some();
        Ok(if has_ended {
            Some(None)
        } else {
            running()?.map(Some)
        })
    })?;
    let Some(state) = state else {
        bail!(
            "the test bed did not start:\n{}",
            fs::read_to_string(&log_path)?
        );
    };
    show(&state);
    Ok(())
}

fn serve(directory: &Path, boot_time: &str) -> Result<()> {
    let boot_time = Duration::try_from_secs_f64(boot_time.parse().context("read the boot time")?)
        .context("read the boot time")?;
    let options = Options {
        boot_time,
        directory: Some(directory.to_owned()),
    };
    let testbed = Testbed::start(options)?;
    let state = State {
        pid: i32::try_from(std::process::id()).context("a process id")?,
        directory: directory.to_owned(),
        kubeconfig: testbed.kubeconfig(User::Admin),
        api_server: testbed.api_url(),
        aws: testbed.moto_url(),
        logs: testbed.log_directory(),
    };
    let ended = testbed.run(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // Only now, so that nobody who sees the state can end it the hard way.
        let unfinished = state_file().with_extension("unfinished");
        fs::write(&unfinished, serde_json::to_vec_pretty(&state)?)?;
        fs::rename(&unfinished, state_file())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    });
    testbed.end()?;
    ended
}

fn down() -> Result<()> {
    let Some(state) = running()? else {
        say("no test bed is up");
        return Ok(());
    };
    let pid = Pid::from_raw(state.pid).context("the state file names no process")?;
    kill_process(pid, Signal::TERM).context("end the serving process")?;
    wait_for("the test bed to end", END, || {
        Ok(running()?.is_none() && processes_of(&state.directory).is_empty())
    })?;
    let home = home();
    fs::remove_dir_all(&home).with_context(|| format!("remove `{}`", home.display()))?;
    say("the test bed is down, no process of it is left");
    Ok(())
}

fn status() -> Result<()> {
    match running()? {
        Some(state) => show(&state),
        None => bail!("no test bed is up"),
    }
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "what a shell can evaluate goes to standard output"
)]
fn show(state: &State) {
    println!("export KUBECONFIG={}", state.kubeconfig.display());
    for (name, value) in Testbed::aws_environment(&state.aws) {
        println!("export {name}={value}");
    }
    say(&format!(
        "API server {}, moto {}, logs in {}, {} processes",
        state.api_server,
        state.aws,
        state.logs.display(),
        processes_of(&state.directory).len(),
    ));
}

#[expect(clippy::print_stderr, reason = "talk goes to standard error")]
fn say(line: &str) {
    eprintln!("{line}");
}
