//! What a join that was killed has left: a kubeadm that goes on without it, a kubelet with the
//! bootstrap token that may get its certificate at any moment, files that fail kubeadm's checks.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use windlass_provision::join::Identity;

use super::kubeadm::{self, PATIENCE};
use super::{Context, joined};

/// How often a kubeadm that was told to end is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Whether the node has joined all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Its kubelet had got the certificate before it was stopped.
    Joined,
    /// There was nothing, or it was undone.
    Nothing,
}

/// Ends a kubeadm of an earlier join: two at once would write the same files, and each undo what
/// the other has done. A unit's processes end with it, but not every init system has units.
pub(super) async fn end_kubeadm(context: &Context<'_>) {
    let configuration = context.paths.join_configuration();
    let left = running_with(&configuration);
    if left.is_empty() || context.dry_run {
        return;
    }
    context
        .report
        .say("an earlier join was killed, its kubeadm goes on: ending it");
    for signal in [Signal::TERM, Signal::KILL] {
        for &id in &left {
            // Each is the leader of a group of its own, with what it has started.
            let _ = kill_process_group(id, signal);
        }
        let told = Instant::now();
        while told.elapsed() < PATIENCE {
            if running_with(&configuration).is_empty() {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Undoes what an earlier join has left, unless the node turns out to have joined by it. The kubelet
/// is stopped first: one that got its certificate after this look would make a ready Node, beside
/// which kubeadm joins no other.
pub(super) async fn undo(context: &Context<'_>, identity: &Identity) -> Found {
    if context.dry_run || !context.paths.bootstrap_kubeconfig().exists() {
        return Found::Nothing;
    }
    context
        .report
        .say("an earlier join was killed before it had ended");
    if let Err(stop) = kubeadm::stop_kubelet(context.paths).await {
        context.report.say(&stop.why);
    }
    if joined::is_joined(context, identity) {
        return Found::Joined;
    }
    kubeadm::reset(context).await;
    Found::Nothing
}

/// Processes that have `file` among their arguments.
fn running_with(file: &Path) -> Vec<Pid> {
    let file = file.as_os_str().as_encoded_bytes();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let arguments = std::fs::read(entry.path().join("cmdline")).ok()?;
            let has_it = arguments.split(|&byte| byte == 0).any(|word| word == file);
            has_it.then(|| Pid::from_raw(id)).flatten()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_program_is_known_by_an_argument_that_is_the_files_name() {
        let name = format!("/nowhere/windlass-leftover-{}", std::process::id());
        assert!(running_with(Path::new(&name)).is_empty());
        let mut child = Command::new("sh")
            .args(["-c", "echo; read line", "sh", &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Its arguments are there for others to read once it runs, a moment after it was started.
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        said.next().unwrap().unwrap();
        let id = i32::try_from(child.id()).unwrap();
        assert_eq!(running_with(Path::new(&name)), [Pid::from_raw(id).unwrap()]);
        assert!(running_with(Path::new("/nowhere/windlass-leftover")).is_empty());
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
