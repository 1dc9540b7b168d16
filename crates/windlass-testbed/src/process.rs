//! Programs that the test bed runs, and the reaper that ends them when the test bed cannot.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// The environment variable that marks every process of one test bed with its directory.
pub(crate) const MARK: &str = "WINDLASS_TESTBED_DIRECTORY";

/// How long a program may take to end after SIGTERM before it gets SIGKILL. Windlass promises to
/// release its Lease within ten seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends the processes of a test bed once the pipe to it closes, however its other end died: by
/// the end of `main`, a panic, Ctrl-C or SIGKILL. A process is recognised by the mark in its
/// environment, so that a number given to somebody else in the meantime is left alone. The logs
/// stay, unless it was told that nobody will want them.
const REAPER: &str = r#"
pids=
remove=
while read -r verb argument; do
    case $verb in
        start) pids="$pids $argument" ;;
        remove) remove=all ;;
    esac
done
ours() { tr '\0' '\n' 2>/dev/null <"/proc/$1/environ" | grep -Fqx "$MARK=$DIRECTORY"; }
left() { for pid in $pids; do ours "$pid" && return 0; done 2>/dev/null; return 1; }
for pid in $pids; do ours "$pid" && kill -TERM "-$pid"; done 2>/dev/null
tries=0
while left && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
for pid in $pids; do ours "$pid" && kill -KILL "-$pid"; done 2>/dev/null
while left; do sleep 0.1; done
if [ -n "$remove" ]; then rm -rf "$DIRECTORY"; else rm -rf "$DIRECTORY/etcd"; fi
"#;

/// The other end of the pipe to the reaper; see [`REAPER`].
#[derive(Debug)]
pub(crate) struct Reaper {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Reaper {
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", REAPER])
            .env("MARK", MARK)
            .env("DIRECTORY", directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("start the reaper, `/bin/sh`")?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    fn tell(&mut self, line: &str) -> Result<()> {
        let pipe = self
            .pipe
            .as_mut()
            .context("the reaper has been dismissed")?;
        writeln!(pipe, "{line}").context("write to the reaper")
    }

    /// The directory is to go at the end, logs included.
    pub(crate) fn remove_directory(&mut self) -> Result<()> {
        self.tell("remove")
    }

    /// Lets the reaper end what is left and waits until it has.
    pub(crate) fn dismiss(&mut self) {
        if self.pipe.take().is_some() {
            // It was started by us and is waited for here alone: nothing can be wrong with it.
            let _ = self.child.wait();
        }
    }
}

/// How to start a program of the test bed; the same every time it is started.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What it is called in messages and what its log is named.
    pub name: String,
    /// The program's path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What is added to its environment.
    pub environment: Vec<(String, String)>,
}

impl Spec {
    /// A program and its arguments.
    pub fn new(
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
        }
    }

    /// Adds a variable to the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }
}

/// Starts programs, so that all of them are marked, logged and known to the reaper.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    directory: PathBuf,
    reaper: Arc<Mutex<Reaper>>,
}

impl Spawner {
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let reaper = Reaper::start(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            reaper: Arc::new(Mutex::new(reaper)),
        })
    }

    pub(crate) fn reaper(&self) -> std::sync::MutexGuard<'_, Reaper> {
        self.reaper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log_path(&self, name: &str) -> PathBuf {
        self.directory.join("logs").join(format!("{name}.log"))
    }

    pub(crate) fn spawn(&self, spec: Spec) -> Result<Process> {
        let log = self.log_path(&spec.name);
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("open `{}`", log.display()))?;
        let errors = output
            .try_clone()
            .context("duplicate the handle of a log")?;
        // In a group of its own, so that Ctrl-C on the terminal reaches the test alone, and the
        // reaper then ends the rest in order.
        let child = Command::new(&spec.program)
            .args(&spec.arguments)
            .envs(spec.environment.iter().map(|(name, value)| (name, value)))
            .env(MARK, &self.directory)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {} (`{}`)", spec.name, spec.program.display()))?;
        self.reaper().tell(&format!("start {}", child.id()))?;
        Ok(Process {
            spec,
            log,
            child,
            ended: None,
            spawner: self.clone(),
        })
    }
}

/// A running program. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    spec: Spec,
    log: PathBuf,
    child: Child,
    ended: Option<ExitStatus>,
    spawner: Spawner,
}

impl Process {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its standard output and standard error go.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// All that it has written so far, of all its starts.
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// How it ended, when it has ended.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Sends SIGTERM and goes on without waiting.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGSTOP: the program holds its connections and does nothing, until [`Self::resume`].
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Sends SIGCONT.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) -> ExitStatus {
        self.signal(Signal::KILL);
        loop {
            if let Some(status) = self.wait(PATIENCE) {
                return status;
            }
        }
    }

    /// Ends it with SIGTERM, or SIGKILL if it does not listen.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        match self.wait(PATIENCE) {
            Some(status) => status,
            None => self.kill(),
        }
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.exit_status() {
                return Some(status);
            }
            if deadline <= begun.elapsed() {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again with the same arguments, after ending it if it still runs.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        *self = self.spawner.spawn(self.spec.clone())?;
        Ok(())
    }

    fn signal(&mut self, signal: Signal) {
        if self.exit_status().is_some() {
            return;
        }
        if let Some(pid) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) {
            // Not yet waited for, so the number is still its own. SIGSTOP goes to it alone.
            let sent = kill_process_group(pid, signal).or_else(|_| kill_process(pid, signal));
            debug_assert!(
                sent.is_ok(),
                "a child that was not waited for can be signalled"
            );
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit_status().is_none() {
            self.stop();
        }
    }
}

/// How a program ended, in words.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// The ids of all living processes that belong to the test bed of `directory`.
pub fn processes_of(directory: &Path) -> Vec<u32> {
    let mark = [
        MARK.as_bytes(),
        b"=",
        directory.as_os_str().as_encoded_bytes(),
    ]
    .concat();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut found: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|v| v == mark))
        })
        .collect();
    found.sort_unstable();
    found
}
