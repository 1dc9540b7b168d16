//! The files that an image has and its distribution has not.

use crate::join;

/// A file whose content is all ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// The part of the script that writes it.
    pub(super) section: &'static str,
    /// What it is, for people.
    pub(super) what: &'static str,
    /// Where it is.
    pub(super) path: &'static str,
    /// Its content, with the line feed at its end.
    pub(super) content: &'static str,
}

/// Modules of the kernel.
pub(super) const MODULES: [&str; 2] = ["overlay", "br_netfilter"];

/// Settings of the kernel.
pub(super) const SYSCTLS: [(&str, &str); 9] = [
    ("fs.inotify.max_user_instances", "8192"),
    ("fs.inotify.max_user_watches", "524288"),
    ("kernel.panic", "10"),
    ("kernel.panic_on_oops", "1"),
    ("net.bridge.bridge-nf-call-ip6tables", "1"),
    ("net.bridge.bridge-nf-call-iptables", "1"),
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv6.conf.all.forwarding", "1"),
    ("vm.overcommit_memory", "1"),
];

/// What would change packages behind the image's back: images are replaced, not patched in place.
pub(super) const MASKED: [&str; 5] = [
    "apt-daily.service",
    "apt-daily.timer",
    "apt-daily-upgrade.service",
    "apt-daily-upgrade.timer",
    "unattended-upgrades.service",
];

/// Units that begin at boot.
pub(super) const ENABLED: [&str; 4] = [
    "chrony.service",
    "containerd.service",
    "kubelet.service",
    "windlass-join.service",
];

/// Where the configuration of containerd is.
pub(super) const CONTAINERD_CONFIG: &str = "/etc/containerd/config.toml";

/// containerd's configuration for 1.x and for 2.x. `PAUSE` stands for the image of the sandbox.
pub(super) const CONTAINERD_1: &str = r#"version = 2
imports = ["/etc/containerd/conf.d/*.toml"]

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "PAUSE"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/opt/cni/bin"
conf_dir = "/etc/cni/net.d"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = true

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "/etc/containerd/certs.d"
"#;

/// See [`CONTAINERD_1`]. Plugins are in `/opt/cni/bin` by default, and the field that says so has
/// another name in 2.1.
pub(super) const CONTAINERD_2: &str = r#"version = 3
imports = ["/etc/containerd/conf.d/*.toml"]

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "PAUSE"

[plugins."io.containerd.cri.v1.images".registry]
config_path = "/etc/containerd/certs.d"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = true
"#;

/// Lines that both have.
pub(super) const CONTAINERD_LINES: [(&str, &str); 4] = [
    ("imports", r#"imports = ["/etc/containerd/conf.d/*.toml"]"#),
    ("runc v2", r#"runtime_type = "io.containerd.runc.v2""#),
    ("systemd cgroups", "SystemdCgroup = true"),
    ("registries", r#"config_path = "/etc/containerd/certs.d""#),
];

// Infinity for files breaks programs that close all that they could have open.
const CONTAINERD_UNIT: &str = "\
[Service]
TasksMax=infinity
OOMScoreAdjust=-999
LimitNOFILE=1048576
";

/// What kubeadm's own package has; here in case that another package lacks it. The operator's file
/// comes last, so that it has the last word.
const KUBELET_UNIT: &str = r#"[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
"#;

/// Until kubeadm has configured it, a kubelet would fail every ten seconds.
const KUBELET_CONDITION: &str = "\
[Unit]
ConditionPathExists=/var/lib/kubelet/config.yaml
";

/// Amazon's time service, in every VPC under the same address.
const TIME: &str = "server 169.254.169.123 prefer iburst minpoll 4 maxpoll 4\n";

const CLOUD_INIT: &str = "\
# Images are replaced, not patched in place.
repo_upgrade: none
package_update: false
package_upgrade: false
";

/// All of them.
pub(super) fn files() -> Vec<Placed> {
    let placed = |section, what, path, content| Placed {
        section,
        what,
        path,
        content,
    };
    vec![
        placed(
            "containerd",
            "limits of containerd",
            "/etc/systemd/system/containerd.service.d/10-windlass.conf",
            CONTAINERD_UNIT,
        ),
        placed(
            "kubelet",
            "arguments of the kubelet",
            "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",
            KUBELET_UNIT,
        ),
        placed(
            "kubelet",
            "condition of the kubelet",
            "/etc/systemd/system/kubelet.service.d/20-windlass.conf",
            KUBELET_CONDITION,
        ),
        placed(
            "time",
            "source of the time",
            "/etc/chrony/sources.d/windlass.sources",
            TIME,
        ),
        placed(
            "updates",
            "updates by cloud-init",
            "/etc/cloud/cloud.cfg.d/99-windlass.cfg",
            CLOUD_INIT,
        ),
        placed(
            "windlass",
            "unit of the join",
            "/etc/systemd/system/windlass-join.service",
            join::UNIT,
        ),
    ]
}
