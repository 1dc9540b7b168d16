//! Where an instance's own disks are mounted, and what lies on them.

use serde::{Deserialize, Serialize};

/// What is done with an instance's own disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocalDisks {
    /// Nothing.
    #[default]
    None,
    /// All of them are one file system, on which containers and pods write.
    Raid0,
}

impl LocalDisks {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// Label of the file system.
pub const DISKS_LABEL: &str = "windlass-disks";
/// Where it is mounted.
pub const DISKS_MOUNT: &str = "/mnt/windlass";

/// A directory whose content lies on the disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    pub path: &'static str,
    /// Its name below [`DISKS_MOUNT`].
    pub name: &'static str,
    /// The name of its mount's unit, which systemd derives from the path.
    unit: &'static str,
}

/// Images and containers, pods' volumes, pods' logs: what the kubelet reckons as ephemeral storage.
pub const MOVED_TO_DISKS: [Place; 3] = [
    Place {
        path: "/var/lib/containerd",
        name: "containerd",
        unit: "var-lib-containerd.mount",
    },
    Place {
        path: "/var/lib/kubelet",
        name: "kubelet",
        unit: "var-lib-kubelet.mount",
    },
    Place {
        path: "/var/log/pods",
        name: "pods",
        unit: "var-log-pods.mount",
    },
];

/// The units that mount it at every boot, name and text, that of the file system first. None of them
/// keeps the machine from booting: after a stop the disks are empty, and the join makes them anew.
pub fn mount_units() -> Vec<(String, String)> {
    let services = "containerd.service kubelet.service";
    let unit = |description: &str, more: &str, mount: &str| {
        format!(
            "[Unit]\nDescription={description}\nBefore={services}\n{more}\n[Mount]\n{mount}\n\
             [Install]\nWantedBy={services}\n"
        )
    };
    let first = "mnt-windlass.mount";
    let disks = unit(
        "The instance's own disks",
        "JobTimeoutSec=30\n",
        &format!("What=LABEL={DISKS_LABEL}\nWhere={DISKS_MOUNT}\nType=ext4\nOptions=noatime\n"),
    );
    let mut units = vec![(first.to_owned(), disks)];
    for Place {
        path,
        name,
        unit: own,
    } in MOVED_TO_DISKS
    {
        let text = unit(
            &format!("{path} on the instance's own disks"),
            &format!("Requires={first}\nAfter={first}\n"),
            &format!("What={DISKS_MOUNT}/{name}\nWhere={path}\nType=none\nOptions=bind\n"),
        );
        units.push((own.to_owned(), text));
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_unit_is_named_for_where_it_mounts() {
        for (name, text) in mount_units() {
            let place = text.lines().find_map(|line| line.strip_prefix("Where=/"));
            // None of these paths has a character that systemd escapes.
            let place = place.unwrap();
            assert!(place.chars().all(|c| c.is_ascii_lowercase() || c == '/'));
            assert_eq!(name, format!("{}.mount", place.replace('/', "-")));
            assert!(text.contains("\nWantedBy=containerd.service"), "{text}");
        }
    }
}
