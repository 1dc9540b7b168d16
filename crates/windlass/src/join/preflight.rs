//! What must be there before kubeadm runs: all faults at once, not the first. kubeadm checks more.

use std::ffi::OsStr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use windlass_provision::join::Phase;

use super::files::Paths;
use super::{Context, Stop};

/// Least room for the kubelet and its pods' logs, in MiB.
const LEAST_ROOM_MIB: u64 = 1024;
/// Most that the clock may be off: certificates are good from now on, by the signer's clock.
const MOST_SKEW: SignedDuration = SignedDuration::from_secs(30);

/// Something that is not as it must be, under the name by which it can be ignored.
struct Fault {
    check: &'static str,
    what: String,
}

pub(super) fn check(context: &Context<'_>) -> Result<(), Stop> {
    if let Some(advice) = advice(context.paths) {
        context.report.say(&format!(
            "preflight: {advice}: services do not reach pods of the same node over a bridge"
        ));
    }
    let faults = not_ignored(context, faults_of(context));
    if faults.is_empty() {
        return Ok(());
    }
    Err(Stop::for_good(Phase::Preflight, faults.join("; ")))
}

/// Compares the clock with AWS's, which is known after the first answer. Its daemon may be on its
/// way to set it, so that a later attempt may go better.
pub(super) fn check_clock(context: &Context<'_>, aws_now: Timestamp) -> Result<(), Stop> {
    let skew = Timestamp::now().duration_since(aws_now).abs();
    if skew <= MOST_SKEW {
        return Ok(());
    }
    let fault = Fault {
        check: "Clock",
        what: format!(
            "the clock is {} s off AWS's: does chrony run?",
            skew.as_secs()
        ),
    };
    match not_ignored(context, vec![fault]).pop() {
        None => Ok(()),
        Some(fault) => Err(Stop::for_now(Phase::Preflight, fault)),
    }
}

/// The faults that stop the join; those that the operator ignores are only said.
fn not_ignored(context: &Context<'_>, faults: Vec<Fault>) -> Vec<String> {
    let ignored = &context.config.ignore_preflight_errors;
    let is_ignored = |check: &str| {
        ignored
            .iter()
            .any(|name| name.eq_ignore_ascii_case("all") || name.eq_ignore_ascii_case(check))
    };
    let mut kept = Vec::new();
    for fault in faults {
        if is_ignored(fault.check) {
            context.report.say(&format!(
                "preflight: {} (ignored: {})",
                fault.what, fault.check
            ));
        } else {
            kept.push(format!("{} ({})", fault.what, fault.check));
        }
    }
    kept
}

fn faults_of(context: &Context<'_>) -> Vec<Fault> {
    let paths = context.paths;
    let mut faults = Vec::new();
    let mut fault = |check, what: String| faults.push(Fault { check, what });
    for (check, program) in [
        ("Kubeadm", &*paths.kubeadm),
        ("Kubelet", OsStr::new("kubelet")),
    ] {
        if find(program).is_none() {
            let program = program.to_string_lossy();
            fault(
                check,
                format!("{program} is not in PATH: is this the right image?"),
            );
        }
    }
    if let Some(socket) = context.config.cri_socket.strip_prefix("unix://") {
        let is_socket = std::fs::metadata(paths.at(socket))
            .is_ok_and(|metadata| metadata.file_type().is_socket());
        if !is_socket {
            fault(
                "CRI",
                format!("there is no socket {socket}: does the container runtime run?"),
            );
        }
    }
    if let Ok(swaps) = std::fs::read_to_string(paths.at("/proc/swaps"))
        && swaps.lines().count() > 1
    {
        fault("Swap", "swap is on".to_owned());
    }
    if !has_overlays(paths) {
        fault(
            "KernelModules",
            "the kernel has no overlay file system, which containers are made of: is module \
             overlay loaded?"
                .to_owned(),
        );
    }
    let forward = std::fs::read_to_string(paths.at("/proc/sys/net/ipv4/ip_forward"));
    if forward.is_ok_and(|value| value.trim() == "0") {
        fault(
            "FileContent--proc-sys-net-ipv4-ip_forward",
            "net.ipv4.ip_forward is 0".to_owned(),
        );
    }
    if let Ok(room) = rustix::fs::statvfs(paths.at("/var/lib")) {
        let mib = room.f_bavail.saturating_mul(room.f_frsize) >> 20;
        if mib < LEAST_ROOM_MIB {
            fault(
                "Disk",
                format!("/var/lib has {mib} MiB left, less than {LEAST_ROOM_MIB}"),
            );
        }
    }
    faults
}

fn has_overlays(paths: &Paths) -> bool {
    // Without the list there is nothing to tell by.
    std::fs::read_to_string(paths.at("/proc/filesystems")).map_or(true, |systems| {
        systems
            .lines()
            .any(|line| line.split_whitespace().next_back() == Some("overlay"))
    })
}

/// What some networks need and others do without, so that it is only said.
fn advice(paths: &Paths) -> Option<&'static str> {
    let bridged = paths.at("/proc/sys/net/bridge/bridge-nf-call-iptables");
    match std::fs::read_to_string(bridged) {
        Ok(value) if value.trim() == "0" => Some("net.bridge.bridge-nf-call-iptables is 0"),
        Ok(_) => None,
        Err(_) => Some("kernel module br_netfilter is not loaded"),
    }
}

fn find(program: &OsStr) -> Option<PathBuf> {
    let path = PathBuf::from(program);
    if path.components().count() > 1 {
        return path.is_file().then_some(path);
    }
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}
