//! What the system must bring: Go and Python. On Debian, as root, what is missing is installed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// A program that the parts are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// The Go toolchain, new enough for the module (or to fetch one that is).
    Go,
    /// Python 3 with `venv` and `ensurepip`.
    Python,
    /// What makes a Debian to build images in, and a signed repository of packages.
    Image,
    /// What a node has besides its kubelet: a container runtime, network plugins, and the tools
    /// that kubeadm's checks name.
    Node,
}

/// Debian's plugins are where Debian puts them.
const NODE_CHECK: &str = "PATH=$PATH:/usr/sbin:/sbin; for program in containerd runc conntrack \
    ethtool socat iptables ip; do command -v $program || exit 1; done; test -x /usr/lib/cni/bridge";

const IMAGE_CHECK: &str = "PATH=$PATH:/usr/sbin:/sbin; for program in debootstrap apt-ftparchive \
    gpg dpkg-deb tar unshare chroot; do command -v $program || exit 1; done";

impl Program {
    fn is_there(self) -> bool {
        let mut command = match self {
            // Of a Go older than 1.21, `go.mod` asks more than it can fetch.
            Self::Go => {
                let mut command = Command::new("sh");
                command.args(["-c", "go version | grep -Eq 'go1\\.(2[1-9]|[3-9][0-9])'"]);
                command
            }
            Self::Python => {
                let mut command = Command::new("python3");
                command.args(["-c", "import ensurepip, venv"]);
                command
            }
            Self::Image => {
                let mut command = Command::new("sh");
                command.args(["-c", IMAGE_CHECK]);
                command
            }
            Self::Node => {
                let mut command = Command::new("sh");
                command.args(["-c", NODE_CHECK]);
                command
            }
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn debian_packages(self) -> &'static [&'static str] {
        match self {
            Self::Go => &["golang-go"],
            Self::Python => &["python3", "python3-venv"],
            Self::Image => &[
                "debootstrap",
                "debian-archive-keyring",
                "apt-utils",
                "gnupg",
            ],
            Self::Node => &[
                "containerd",
                "runc",
                "containernetworking-plugins",
                "conntrack",
                "ethtool",
                "socat",
                "iptables",
                "iproute2",
            ],
        }
    }

    fn how_to_get(self) -> &'static str {
        match self {
            Self::Go => {
                "Go 1.21 or newer is missing (it fetches the 1.26 that the module asks for): \
                 install it from your distribution or from the Go project, and put `go` in PATH"
            }
            Self::Python => {
                "Python 3 with venv is missing: `apt-get install python3 python3-venv`, \
                 or your distribution's packages of that kind"
            }
            Self::Image => {
                "what images are built with is missing: `apt-get install debootstrap \
                 debian-archive-keyring apt-utils gnupg`"
            }
            Self::Node => {
                "what a node is made of is missing: `apt-get install containerd runc \
                 containernetworking-plugins conntrack ethtool socat iptables iproute2`"
            }
        }
    }
}

/// The programs of `wanted` that are not there, with how to get each.
fn missing_programs(wanted: &[Program]) -> Vec<&'static str> {
    wanted
        .iter()
        .filter(|program| !program.is_there())
        .map(|program| program.how_to_get())
        .collect()
}

/// Fails with how to get it when a program is missing and cannot be installed.
pub(crate) fn require(wanted: &[Program]) -> Result<()> {
    for program in wanted.iter().filter(|program| !program.is_there()) {
        install(program.debian_packages());
    }
    let missing = missing_programs(wanted);
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    Ok(())
}

/// Runs a command that may need the network, which may be away for a moment: up to three times.
pub(crate) fn run_with_patience(command: &mut Command, say: &mut dyn FnMut(&str)) -> Result<()> {
    let mut trouble = String::new();
    for attempt in 0..3 {
        if 0 < attempt {
            say(&format!("{trouble}; trying again"));
            thread::sleep(Duration::from_secs(10));
        }
        let status = command
            .status()
            .with_context(|| format!("run {command:?}"))?;
        if status.success() {
            return Ok(());
        }
        trouble = format!("{command:?}: {status}");
    }
    bail!("{trouble}")
}

/// Tries to install Debian packages; whether that helped is for the caller to look at.
fn install(packages: &[&str]) {
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    if !is_root || !Path::new("/usr/bin/apt-get").exists() {
        return;
    }
    for arguments in [
        &["update", "-q"][..],
        &[&["install", "-qy"][..], packages].concat(),
    ] {
        let done = Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(arguments)
            .stdin(Stdio::null())
            .status();
        if !done.is_ok_and(|status| status.success()) {
            return;
        }
    }
}
