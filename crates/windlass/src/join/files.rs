//! Where things are. `WINDLASS_ROOT` is put before every path, for tests and for images that are
//! looked at from outside.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use windlass_aws_client::Secret;

/// Logs of earlier joins that are kept.
const KEPT_LOGS: u32 = 3;

pub(super) struct Paths {
    root: PathBuf,
    config: PathBuf,
    pub(super) kubeadm: OsString,
    pub(super) systemctl: OsString,
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

impl Paths {
    pub(super) fn from_environment(config: &str) -> Self {
        Self {
            root: variable("WINDLASS_ROOT")
                .map(PathBuf::from)
                .unwrap_or_default(),
            config: PathBuf::from(config),
            kubeadm: variable("WINDLASS_KUBEADM").unwrap_or_else(|| "kubeadm".into()),
            systemctl: variable("WINDLASS_SYSTEMCTL").unwrap_or_else(|| "systemctl".into()),
        }
    }

    /// `path`, which begins with a slash, below the root.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        let mut whole = self.root.clone().into_os_string();
        whole.push(path);
        PathBuf::from(whole)
    }

    pub(super) fn is_whole_system(&self) -> bool {
        self.root.as_os_str().is_empty()
    }

    pub(super) fn config(&self) -> PathBuf {
        match self.config.to_str() {
            Some(path) if path.starts_with('/') => self.at(path),
            _ => self.config.clone(),
        }
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.at("/run/windlass/join.lock")
    }

    pub(super) fn status(&self) -> PathBuf {
        self.at("/run/windlass/status.json")
    }

    pub(super) fn discovery(&self) -> PathBuf {
        self.at("/run/windlass/discovery.conf")
    }

    pub(super) fn join_configuration(&self) -> PathBuf {
        self.at("/run/windlass/join.yaml")
    }

    pub(super) fn kubelet_kubeconfig(&self) -> PathBuf {
        self.at("/etc/kubernetes/kubelet.conf")
    }

    /// With which a kubelet gets its certificate; kubeadm removes it when it has ended.
    pub(super) fn bootstrap_kubeconfig(&self) -> PathBuf {
        self.at("/etc/kubernetes/bootstrap-kubelet.conf")
    }

    pub(super) fn open_lock(&self) -> io::Result<File> {
        make_directory(&self.lock())?;
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.lock())
    }

    /// The log of this join; those of the last joins are kept beside it.
    pub(super) fn open_log(&self) -> io::Result<File> {
        let log = self.at("/var/log/windlass/join.log");
        make_directory(&log)?;
        let numbered = |number: u32| log.with_extension(format!("log.{number}"));
        for number in (1..KEPT_LOGS).rev() {
            let _ = fs::rename(numbered(number), numbered(number + 1));
        }
        let _ = fs::rename(&log, numbered(1));
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(log)
    }

    /// Removes what a kubeadm that was killed late has left: it has the token in it, and a kubelet
    /// with a certificate needs it no more.
    pub(super) fn remove_bootstrap_kubeconfig(&self) {
        let _ = fs::remove_file(self.bootstrap_kubeconfig());
    }

    /// Removes every file of ours with the token in it.
    pub(super) fn remove_secrets(&self) {
        for path in [self.discovery(), self.join_configuration()] {
            let _ = fs::remove_file(&path);
            let _ = fs::remove_file(draft(&path));
        }
    }
}

fn make_directory(file: &Path) -> io::Result<()> {
    let Some(directory) = file.parent() else {
        return Ok(());
    };
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(0o700))
}

fn draft(path: &Path) -> PathBuf {
    path.with_extension("draft")
}

/// Writes a file that root alone may read, whole or not at all.
pub(super) fn write_secret(path: &Path, content: &Secret) -> io::Result<()> {
    make_directory(path)?;
    let draft = draft(path);
    // A draft of a join that was killed could have been opened by whoever; made anew.
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(content.expose().as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> (PathBuf, Paths) {
        let root = std::env::temp_dir().join(format!("windlass-join-files-{}", std::process::id()));
        let paths = Paths {
            root: root.clone(),
            config: PathBuf::from("/etc/windlass/node.yaml"),
            kubeadm: OsString::new(),
            systemctl: OsString::new(),
        };
        (root, paths)
    }

    #[test]
    fn secrets_are_for_root_alone_and_go() {
        let (root, paths) = paths();
        let secret = paths.discovery();
        assert!(secret.starts_with(&root));
        write_secret(&secret, &Secret::new("one")).unwrap();
        write_secret(&secret, &Secret::new("two")).unwrap();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "two");
        assert_eq!(
            fs::metadata(&secret).unwrap().permissions().mode() & 0o777,
            0o600
        );
        paths.remove_secrets();
        assert!(!secret.exists());
        for _ in 0..6 {
            paths.open_log().unwrap();
        }
        let logs = fs::read_dir(root.join("var/log/windlass")).unwrap().count();
        assert_eq!(logs, 1 + KEPT_LOGS as usize);
        fs::remove_dir_all(root).unwrap();
    }
}
