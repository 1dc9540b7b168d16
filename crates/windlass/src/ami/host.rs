//! The host that is looked at: the running one, or a directory that is the root of one.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longest time for a program to say what it is.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether a program has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Links that are followed before they are taken for a circle.
const MOST_LINKS: u32 = 20;

/// What is looked at.
#[derive(Clone, Debug)]
pub(super) struct Host {
    root: PathBuf,
    /// Whether it is the running one, whose kernel and services tell of it.
    pub(super) is_running: bool,
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileState {
    /// Permissions, in octal digits.
    pub(super) mode: String,
    /// Whether root owns it.
    pub(super) is_roots: bool,
    /// In bytes.
    pub(super) length: u64,
}

impl Host {
    /// The running host.
    pub(super) fn running() -> Self {
        Self {
            root: PathBuf::from("/"),
            is_running: true,
        }
    }

    /// The host whose root is this directory.
    pub(super) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            is_running: false,
        }
    }

    /// A path of the host's as one of ours, its links followed as the host would follow them.
    fn path(&self, path: &str) -> io::Result<PathBuf> {
        let mut left = MOST_LINKS;
        self.resolve(Path::new(path), &mut left)
    }

    fn resolve(&self, path: &Path, left: &mut u32) -> io::Result<PathBuf> {
        let mut inside = PathBuf::new();
        for part in path.components() {
            match part {
                std::path::Component::Normal(name) => {
                    let next = inside.join(name);
                    match fs::read_link(self.root.join(&next)) {
                        Ok(target) => {
                            *left = left
                                .checked_sub(1)
                                .ok_or_else(|| io::Error::other("links lead in a circle"))?;
                            // An absolute target begins at the host's root again.
                            let target = inside.join(target);
                            inside = self.resolve(&target, left)?;
                            inside = inside
                                .strip_prefix(&self.root)
                                .map(Path::to_owned)
                                .unwrap_or(inside);
                        }
                        Err(_) => inside = next,
                    }
                }
                std::path::Component::ParentDir => {
                    inside.pop();
                }
                _ => {}
            }
        }
        Ok(self.root.join(inside))
    }

    /// The content of a file.
    pub(super) fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(path)?)
    }

    /// The text of a file; nothing if there is none.
    pub(super) fn text(&self, path: &str) -> String {
        let read = self.read(path).unwrap_or_default();
        String::from_utf8_lossy(&read).into_owned()
    }

    /// What is known of a file that is no link.
    pub(super) fn file(&self, path: &str) -> io::Result<FileState> {
        let found = fs::metadata(self.path(path)?)?;
        Ok(FileState {
            mode: format!("{:o}", found.permissions().mode() & 0o7777),
            is_roots: found.uid() == 0 && found.gid() == 0,
            length: found.len(),
        })
    }

    /// Where a link leads; none where there is none.
    pub(super) fn link(&self, path: &str) -> Option<PathBuf> {
        fs::read_link(self.unfollowed(path)).ok()
    }

    /// Whether something is there, be it a link that leads nowhere.
    pub(super) fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.unfollowed(path)).is_ok()
    }

    /// A path whose last part is not followed.
    fn unfollowed(&self, path: &str) -> PathBuf {
        let path = Path::new(path);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return self.root.clone();
        };
        let parent = self.path(&parent.to_string_lossy());
        parent.unwrap_or_else(|_| self.root.clone()).join(name)
    }

    /// The names in a directory, sorted; none if there is none.
    pub(super) fn names(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = self.path(directory).and_then(fs::read_dir) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        names
    }

    /// The paths that a pattern matches, each part of which may have one `*`.
    pub(super) fn matching(&self, pattern: &str) -> Vec<String> {
        let mut found = vec![String::new()];
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            found = found
                .into_iter()
                .flat_map(|directory| match part.split_once('*') {
                    None => vec![format!("{directory}/{part}")],
                    Some((begin, end)) => self
                        .names(&format!("{directory}/"))
                        .into_iter()
                        .filter(|name| {
                            begin.len() + end.len() <= name.len()
                                && name.starts_with(begin)
                                && name.ends_with(end)
                        })
                        .map(|name| format!("{directory}/{name}"))
                        .collect(),
                })
                .collect();
        }
        found.retain(|path| self.exists(path));
        found
    }

    /// Bytes of all files below a directory.
    pub(super) fn bytes_below(&self, directory: &str) -> u64 {
        fn below(directory: &Path) -> u64 {
            let Ok(entries) = fs::read_dir(directory) else {
                return 0;
            };
            entries
                .flatten()
                .filter_map(|entry| Some((entry.path(), fs::symlink_metadata(entry.path()).ok()?)))
                .map(|(path, found)| {
                    if found.is_dir() {
                        below(&path)
                    } else {
                        found.len()
                    }
                })
                .sum()
        }
        self.path(directory).map_or(0, |path| below(&path))
    }

    /// Runs a program of the host's and gives all that it says; an error in words if it cannot, does
    /// not end or ends with another code than 0.
    pub(super) fn run(&self, arguments: &[String]) -> Result<String, String> {
        let mut command = if self.root == Path::new("/") {
            Command::new(arguments.first().map_or("", String::as_str))
        } else {
            let mut chroot = Command::new("chroot");
            chroot
                .arg(&self.root)
                .args(arguments.first().map(String::as_str));
            chroot
        };
        let mut child = command
            .args(arguments.iter().skip(1))
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("it does not start: {error}"))?;
        // Each stream in a thread of its own: one that is full would stop the program.
        let stdout = child.stdout.take().map(|it| thread::spawn(|| all_of(it)));
        let stderr = child.stderr.take().map(|it| thread::spawn(|| all_of(it)));
        let begun = Instant::now();
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if begun.elapsed() < PATIENCE => thread::sleep(LOOK_EVERY),
                _ => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("it does not end within {} s", PATIENCE.as_secs()));
                }
            }
        };
        let said: String = [stdout, stderr]
            .into_iter()
            .flatten()
            .filter_map(|thread| thread.join().ok())
            .collect();
        if status.success() {
            Ok(said)
        } else {
            let last = said.lines().last().unwrap_or("nothing");
            Err(format!("it ends with {status} and says: {last}"))
        }
    }
}

fn all_of(mut stream: impl io::Read) -> String {
    let mut bytes = Vec::new();
    // What came until the stream broke is what there is.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("windlass-ami-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("etc")).unwrap();
        path
    }

    #[test]
    fn links_lead_inside_of_the_root() {
        let root = scratch("links");
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        fs::write(root.join("usr/lib/os-release"), "ID=debian\n").unwrap();
        symlink("/usr/lib/os-release", root.join("etc/os-release")).unwrap();
        symlink("../../../../etc/os-release", root.join("etc/up")).unwrap();
        symlink("circle", root.join("etc/circle")).unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        let host = Host::at(&root);
        for path in [
            "/etc/os-release",
            "/etc/up",
            "/lib/os-release",
            "/usr/lib/os-release",
        ] {
            assert_eq!(host.text(path), "ID=debian\n", "{path}");
        }
        assert!(host.read("/etc/circle").is_err());
        assert_eq!(
            host.link("/etc/up"),
            Some("../../../../etc/os-release".into())
        );
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_star_matches_within_one_part() {
        let root = scratch("stars");
        for path in ["home/a/.ssh", "home/b/.ssh", "etc/ssh"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        for path in [
            "home/a/.ssh/authorized_keys",
            "etc/ssh/ssh_host_rsa_key",
            "etc/ssh/sshd_config",
        ] {
            fs::write(root.join(path), "x").unwrap();
        }
        let host = Host::at(&root);
        assert_eq!(
            host.matching("/home/*/.ssh/authorized_keys"),
            ["/home/a/.ssh/authorized_keys"]
        );
        assert_eq!(
            host.matching("/etc/ssh/ssh_host_*"),
            ["/etc/ssh/ssh_host_rsa_key"]
        );
        assert!(host.matching("/var/*").is_empty());
        assert_eq!(host.bytes_below("/etc"), 2);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_program_tells_on_either_stream_or_why_it_does_not() {
        let host = Host::running();
        let shell = |script: &str| host.run(&["sh", "-c", script].map(str::to_owned));
        assert_eq!(shell("echo a; echo b >&2").unwrap(), "a\nb\n");
        assert!(shell("echo no; exit 3").unwrap_err().contains("says: no"));
        assert!(host.run(&["/nowhere".to_owned()]).is_err());
    }
}
