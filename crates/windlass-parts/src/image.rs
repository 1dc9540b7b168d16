//! What images are built from where no cloud is: a Debian to build in, the packages of its mirror
//! that a node needs, and Kubernetes' programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::key::Key;
use crate::system;

/// The Debian that is built in.
const SUITE: &str = "bookworm";
const MIRROR: &str = "http://deb.debian.org/debian";

/// What a stock image has, as far as it matters, besides the least Debian.
const BASE: &str = "ca-certificates,kmod,procps,systemd,systemd-sysv";

/// What is fetched from the mirror for later, with all that it depends on.
const PACKAGES: [&str; 17] = [
    "auditd",
    "chrony",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "curl",
    "ebtables",
    "ethtool",
    "gpg",
    "iproute2",
    "iptables",
    "jq",
    "nftables",
    "openssh-server",
    "runc",
    "socat",
    "unattended-upgrades",
];

/// The names in the cache.
const BASE_ARCHIVE: &str = "base.tar";
const REPOSITORY: &str = "packages";

/// A Debian and a directory of packages.
pub(crate) struct Debian {
    /// An archive of its root.
    pub(crate) base: PathBuf,
    /// The packages, without an index.
    pub(crate) packages: PathBuf,
}

pub(crate) fn ensure(cache: &Path, say: &mut dyn FnMut(&str)) -> Result<Debian> {
    let key = Key::new()
        .add(SUITE.as_bytes())
        .add(BASE.as_bytes())
        .add(PACKAGES.concat().as_bytes());
    let directory = cache.join(key.name("debian"));
    let debian = Debian {
        base: directory.join(BASE_ARCHIVE),
        packages: directory.join(REPOSITORY),
    };
    if debian.base.exists() {
        return Ok(debian);
    }
    system::require(&[system::Program::Image])?;
    let unfinished = begin(&directory)?;
    let root = unfinished.join("root");
    say(&format!("installing Debian {SUITE}"));
    let mut debootstrap = Command::new("debootstrap");
    debootstrap
        .args(["--variant=minbase", &format!("--include={BASE}"), SUITE])
        .arg(&root)
        .arg(MIRROR);
    system::run_with_patience(&mut debootstrap, say)?;
    system::run_with_patience(&mut fetch(&root, &unfinished), say)?;
    fs::remove_dir_all(&root).with_context(|| format!("remove `{}`", root.display()))?;
    finish(&unfinished, &directory)?;
    Ok(debian)
}

/// The Packer of that Debian: distributions after it have none.
pub(crate) fn ensure_packer(
    cache: &Path,
    debian: &Debian,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf> {
    let key = Key::new().add(SUITE.as_bytes());
    let directory = cache.join(key.name("packer"));
    let packer = directory.join("usr/bin/packer");
    if packer.exists() {
        return Ok(packer);
    }
    let unfinished = begin(&directory)?;
    let root = unfinished.join("root");
    fs::create_dir(&root).with_context(|| format!("create `{}`", root.display()))?;
    say(&format!("fetching Packer from Debian {SUITE}"));
    let script = "set -e; tar -xf \"$2\" -C \"$0\"; cp /etc/resolv.conf \"$0\"/etc; chroot \"$0\" apt-get update -q; \
                  chroot \"$0\" sh -c 'cd /tmp; apt-get download -q packer'; \
                  dpkg-deb -x \"$0\"/tmp/packer_*.deb \"$1\"";
    let mut fetch = Command::new("sh");
    fetch
        .args(["-c", script])
        .args([&root, &unfinished, &debian.base]);
    system::run_with_patience(&mut fetch, say)?;
    fs::remove_dir_all(&root).with_context(|| format!("remove `{}`", root.display()))?;
    finish(&unfinished, &directory)?;
    Ok(packer)
}

/// An empty directory to make an entry of the cache in.
fn begin(directory: &Path) -> Result<PathBuf> {
    let unfinished = directory.with_extension("unfinished");
    remove(&unfinished)?;
    fs::create_dir_all(&unfinished)
        .with_context(|| format!("create `{}`", unfinished.display()))?;
    Ok(unfinished)
}

/// The entry is whole from now on.
fn finish(unfinished: &Path, directory: &Path) -> Result<()> {
    remove(directory)?;
    fs::rename(unfinished, directory).with_context(|| format!("rename `{}`", unfinished.display()))
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("remove `{}`", directory.display()))?;
    }
    Ok(())
}

/// Fetches the packages and packs the root, in a mount namespace of its own, so that nothing stays
/// mounted whatever happens.
fn fetch(root: &Path, into: &Path) -> Command {
    let script = format!(
        "set -e; mount -t proc proc \"$0/proc\"; \
         chroot \"$0\" apt-get update -q; \
         chroot \"$0\" apt-get install -qy --no-install-recommends --download-only {}; \
         umount \"$0/proc\"; \
         mkdir -p \"$1/{REPOSITORY}\"; mv \"$0\"/var/cache/apt/archives/*.deb \"$1/{REPOSITORY}\"; \
         chroot \"$0\" apt-get clean; rm -rf \"$0\"/var/lib/apt/lists/*; \
         tar -cf \"$1/{BASE_ARCHIVE}\" --numeric-owner -C \"$0\" .",
        PACKAGES.join(" ")
    );
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "sh", "-c", &script])
        .args([root, into]);
    unshare
}
