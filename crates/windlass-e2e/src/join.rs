//! A machine to join: a mount, process and network namespace of its own with a real container
//! runtime, the real kubeadm and the real kubelet. Linux, and root.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use windlass_parts::{NodeParts, Parts};
use windlass_provision::iam::Actor;
use windlass_testbed::{Boot, Group, Process, Proxy, Spec, Testbed, User, wait_for};

use crate::imds::{Imds, Instance};
use crate::{called, check_granted, values};

/// Has kubeadm make what a join needs in the cluster: its `ConfigMap`s, `cluster-info` and roles.
pub fn prepare_for_joins(testbed: &Testbed) -> Result<()> {
    let parts = Parts::ensure(&mut |_| {})?;
    let endpoint = testbed.api_url().replace("https://", "");
    let configuration = [
        json!({
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "InitConfiguration",
            "bootstrapTokens": [],
            // Only written down; a loopback address is refused.
            "localAPIEndpoint": {"advertiseAddress": "192.0.2.1", "bindPort": 6443},
            "nodeRegistration": {"criSocket": "unix:///run/containerd/containerd.sock"},
        }),
        json!({
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "ClusterConfiguration",
            "kubernetesVersion": "v1.36.3",
            "controlPlaneEndpoint": endpoint,
            "certificatesDir": testbed.directory().join("pki"),
        }),
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            // Where a node has it, which is not where kubeadm finds it here.
            "authentication": {"x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"}},
            "failCgroupV1": false,
            "failSwapOn": false,
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": false,
            "enforceNodeAllocatable": ["none"],
            "localStorageCapacityIsolation": false,
            "nodeStatusUpdateFrequency": "2s",
        }),
    ];
    let path = testbed.directory().join("kubeadm-init.yaml");
    let documents: Vec<String> = configuration.iter().map(ToString::to_string).collect();
    fs::write(&path, documents.join("\n---\n"))?;
    let kubeconfig = testbed.kubeconfig(User::Admin);
    for phase in [&["upload-config", "all"][..], &["bootstrap-token"][..]] {
        let output = Command::new(&parts.kubeadm)
            .args(["init", "phase"])
            .args(phase)
            .arg("--config")
            .arg(&path)
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .output()
            .context("run kubeadm")?;
        ensure!(
            output.status.success(),
            "kubeadm init phase {phase:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// Makes a group of one instance, which becomes a Node by what the test does and not by itself, and
/// gives that instance as EC2 describes it.
pub fn lone_instance(testbed: &Testbed, group: &Group) -> Result<Instance> {
    testbed.joiner().set_boot(&group.name, Boot::never());
    testbed.aws().create_group(group)?;
    let id = testbed.aws().group(&group.name)?.instance_ids().remove(0);
    described_instance(testbed, &id)
}

/// An instance as EC2 describes it.
pub fn described_instance(testbed: &Testbed, id: &str) -> Result<Instance> {
    let described = testbed
        .aws()
        .query("ec2", "DescribeInstances", &[("InstanceId.1", id)])?;
    let element = |name: &str| {
        let found = values(&described, name).into_iter().next();
        found.with_context(|| format!("{name} in {described}"))
    };
    Ok(Instance {
        zone: element("availabilityZone")?,
        host_name: element("privateDnsName")?,
        address: element("privateIpAddress")?,
        id: id.to_owned(),
    })
}

/// What the network of a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// A CNI configuration is there, so that the node turns ready.
    Configured,
    /// None: the node stays not ready.
    Missing,
}

/// What a machine's disk is.
#[derive(Clone, Copy, Debug)]
enum Disk<'a> {
    /// This host's, with copies of what a node writes to, and the parts' programs before all others.
    Host,
    /// A copy of a machine image's.
    Image(&'a Path),
}

/// A running machine. Dropping it ends all that runs in it.
///
/// Its ports are its own, so that several can run at the same time: a kubelet has the ports that it
/// has. What it reaches of the host's are those ports that [`Self::reach`] carries over.
#[derive(Debug)]
pub struct Machine {
    testbed: &'static Testbed,
    directory: PathBuf,
    process: Process,
    /// What carries its connections to the host.
    relays: Vec<Process>,
    imds: Imds,
    environment: Vec<(String, String)>,
    /// What is asked of AWS in it comes through here.
    calls: Proxy,
    actors: Vec<Actor>,
}

const NETWORK: &str = r#"{"cniVersion": "0.4.0", "name": "test", "plugins": [
  {"type": "bridge", "bridge": "wltest0", "isGateway": false,
   "ipam": {"type": "host-local", "subnet": "10.244.7.0/24"}}]}"#;

/// kubeadm without the check that a machine of the tests fails, whatever has been done in it: its
/// kernel may not tell how it was configured, and its control groups may be of version 1.
const LENIENT_KUBEADM: &str = "#!/bin/bash
if [ \"${1:-}\" = join ]; then
  exec /usr/bin/kubeadm \"$@\" --ignore-preflight-errors=SystemVerification
fi
exec /usr/bin/kubeadm \"$@\"
";

const CONTAINERD: &str = r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "registry.k8s.io/pause:3.10"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "CNI_PLUGINS"
conf_dir = "/etc/cni/net.d"
"#;

impl Machine {
    /// Boots one as `instance`, which talks to AWS at `aws`: its runtime runs, nothing has joined.
    pub fn boot(
        testbed: &'static Testbed,
        name: &str,
        instance: &Instance,
        network: Network,
        aws: &str,
    ) -> Result<Self> {
        Self::boot_from(testbed, name, instance, (Disk::Host, network), aws)
    }

    /// Boots one as `instance` from a machine image: its programs and settings are the image's. What
    /// is not: there is no systemd, so that the runtime has no cgroups of it to use and a stub of
    /// `systemctl` starts the units; kubeadm is told to look away from what this host is not; and a
    /// network is configured, which in a cluster a `DaemonSet` brings.
    pub fn boot_image(
        testbed: &'static Testbed,
        name: &str,
        instance: &Instance,
        image: &Path,
        aws: &str,
    ) -> Result<Self> {
        let disk = (Disk::Image(image), Network::Configured);
        Self::boot_from(testbed, name, instance, disk, aws)
    }

    fn boot_from(
        testbed: &'static Testbed,
        name: &str,
        instance: &Instance,
        (disk, network): (Disk<'_>, Network),
        aws: &str,
    ) -> Result<Self> {
        let directory = testbed.directory().join(format!("machine-{name}"));
        fs::create_dir_all(directory.join("bin"))?;
        let write = |file: &str, text: &str| {
            let path = directory.join(file);
            fs::write(&path, text).with_context(|| format!("write `{}`", path.display()))?;
            fs::set_permissions(&path, Permissions::from_mode(0o755))?;
            Ok::<PathBuf, anyhow::Error>(path)
        };
        let init = match disk {
            Disk::Host => write("machine", include_str!("join/machine.sh"))?,
            Disk::Image(_) => write("machine", include_str!("join/image-machine.sh"))?,
        };
        write("bin/systemctl", include_str!("join/systemctl.sh"))?;
        write(
            "bin/kubelet-service",
            include_str!("join/kubelet-service.sh"),
        )?;
        if network == Network::Configured {
            write("network.conflist", NETWORK)?;
        }
        match disk {
            Disk::Host => {
                let parts = Parts::ensure(&mut |_| {})?;
                let node = NodeParts::ensure(&mut |_| {})?;
                let plugins = node.cni_plugins.display().to_string();
                write(
                    "containerd.toml",
                    &CONTAINERD.replace("CNI_PLUGINS", &plugins),
                )?;
                for (program, path) in [
                    ("kubelet", &node.kubelet),
                    ("kubeadm", &parts.kubeadm),
                    ("windlass", &crate::binary()?),
                ] {
                    symlink(path, directory.join("bin").join(program))?;
                }
            }
            Disk::Image(_) => {
                symlink("/usr/bin/kubelet", directory.join("bin/kubelet"))?;
                write("bin/kubeadm", LENIENT_KUBEADM)?;
            }
        }
        let imds = Imds::start(instance)?;
        let calls = testbed.proxy_before(aws)?;
        let aws = calls.url().to_owned();
        let mut environment = Testbed::aws_environment(&aws);
        // The instance's role is what it has, not the test's keys.
        environment.retain(|(name, _)| {
            ![
                "AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY",
                "AWS_EC2_METADATA_DISABLED",
            ]
            .contains(&name.as_str())
        });
        environment.extend([
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), imds.url()),
            ("PATH".to_owned(), path_with(&directory.join("bin"))),
            ("WINDLASS_LOG".to_owned(), "debug".to_owned()),
        ]);
        let mut spec = Spec::new(
            &format!("machine-{name}"),
            "/usr/bin/unshare".as_ref(),
            [
                "--mount".to_owned(),
                "--pid".to_owned(),
                "--net".to_owned(),
                "--uts".to_owned(),
                "--fork".to_owned(),
                "--kill-child".to_owned(),
                "--mount-proc".to_owned(),
                init.display().to_string(),
                directory.display().to_string(),
                instance.address.clone(),
                instance.host_name.clone(),
            ],
        );
        if let Disk::Image(root) = disk {
            spec.arguments.push(root.display().to_string());
        }
        spec.environment.clone_from(&environment);
        let process = testbed.spawn(spec)?;
        let mut machine = Self {
            testbed,
            directory,
            process,
            relays: Vec::new(),
            imds,
            environment,
            calls,
            actors: vec![Actor::Node],
        };
        let is_up = machine.directory.join("ready");
        wait_for("the machine to boot", Duration::from_mins(1), || {
            Ok(is_up.exists())
        })?;
        let imds = machine.imds.url();
        for url in [&testbed.api_url(), &aws, &imds] {
            machine.reach(url)?;
        }
        Ok(machine)
    }

    /// Lets it reach a port of this host's loopback interface, under the same address.
    pub fn reach(&mut self, url: &str) -> Result<()> {
        let port = url.trim_end_matches('/').rsplit(':').next();
        let port: u16 = port.and_then(|port| port.parse().ok()).context("a port")?;
        // A socket of the file system is the same one in both networks.
        let socket = self.directory.join(format!("port-{port}"));
        let name = self.directory.file_name().unwrap_or_default();
        let name = format!("{}-to-{port}", name.display());
        let outside = Spec::new(
            &name,
            "/usr/bin/socat".as_ref(),
            [
                format!("UNIX-LISTEN:{},fork,backlog=64", socket.display()),
                format!("TCP:127.0.0.1:{port}"),
            ],
        );
        self.relays.push(self.testbed.spawn(outside)?);
        wait_for("the relay to listen", Duration::from_secs(30), || {
            Ok(socket.exists())
        })?;
        let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,backlog=64");
        let inside = self.namespaces()?.into_iter().chain([
            "/usr/bin/socat".to_owned(),
            listen,
            format!("UNIX-CONNECT:{}", socket.display()),
        ]);
        let inside = Spec::new(
            &format!("{name}-inside"),
            "/usr/bin/nsenter".as_ref(),
            inside,
        );
        self.relays.push(self.testbed.spawn(inside)?);
        let dial = format!(": </dev/tcp/127.0.0.1/{port}");
        wait_for("the machine to reach it", Duration::from_secs(30), || {
            let status = self.command("/bin/bash")?.args(["-c", &dial]).status()?;
            Ok(status.success())
        })
    }

    /// What has nsenter run a program in it.
    fn namespaces(&self) -> Result<Vec<String>> {
        let children = format!("/proc/{0}/task/{0}/children", self.process.id());
        let children = fs::read_to_string(&children).context("find the machine's first process")?;
        let first = children
            .split_whitespace()
            .next()
            .context("the machine has ended")?;
        let words = [
            "--target", first, "--mount", "--pid", "--net", "--uts", "--",
        ];
        Ok(words.map(str::to_owned).into())
    }

    /// Its metadata service.
    pub fn imds(&self) -> &Imds {
        &self.imds
    }

    /// Puts a program into its PATH, before all others.
    pub fn add_program(&self, name: &str, script: &str) -> Result<()> {
        let path = self.directory.join("bin").join(name);
        // It may be a link to the real one.
        let _ = fs::remove_file(&path);
        fs::write(&path, script).with_context(|| format!("write `{}`", path.display()))?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Puts the AWS command line into its PATH.
    pub fn add_aws_cli(&self) -> Result<()> {
        let aws = windlass_parts::aws_cli(&mut |_| {})?;
        symlink(aws, self.directory.join("bin/aws"))?;
        Ok(())
    }

    /// Has kubeadm called with more arguments, by branches of a shell's `case` over its verb;
    /// `$real` is the real one.
    pub fn wrap_kubeadm(&self, branches: &str) -> Result<()> {
        let real = Parts::ensure(&mut |_| {})?.kubeadm;
        let real = real.display();
        self.add_program(
            "kubeadm",
            &format!(
                "#!/bin/bash\nreal={real}\ncase ${{1:-}} in\n{branches}\n\
                 *) exec \"$real\" \"$@\" ;;\nesac\n"
            ),
        )
    }

    /// Has the kubelet started without an argument that somebody gives it.
    pub fn keep_from_kubelet(&self, argument: &str) -> Result<()> {
        let real = NodeParts::ensure(&mut |_| {})?.kubelet;
        let real = real.display();
        self.add_program(
            "kubelet",
            &format!(
                "#!/bin/bash\nkept=()\nfor one in \"$@\"; do\n  \
                 [ \"$one\" = {argument} ] || kept+=(\"$one\")\ndone\n\
                 exec {real} \"${{kept[@]}}\"\n"
            ),
        )
    }

    /// A variable for all that is run from now on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts a program in it.
    pub fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new("/usr/bin/nsenter");
        command
            .args(self.namespaces()?)
            .arg(program)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a script in it, as cloud-init runs user data: from a file, as root.
    pub fn run_script(&self, script: &str) -> Result<Output> {
        let path = self.directory.join("user-data");
        fs::write(&path, script)?;
        fs::set_permissions(&path, Permissions::from_mode(0o700))?;
        let path = path.display().to_string();
        Ok(self.command("/bin/bash")?.arg(path).output()?)
    }

    /// The text of a file in it; empty if there is none.
    pub fn read(&self, path: &str) -> String {
        self.command("/bin/cat")
            .and_then(|mut command| Ok(command.arg(path).output()?))
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    }

    /// A log of the machine's own: `kubelet.log`, `containerd.log`, `systemctl.log`, `console`.
    pub fn log(&self, name: &str) -> String {
        fs::read(self.directory.join(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Somebody else than a worker node acts in it too.
    pub fn act_as(&mut self, actor: Actor) {
        self.actors.push(actor);
    }

    /// These act in it, and no worker node does.
    pub fn act_as_only(&mut self, actors: &[Actor]) {
        actors.clone_into(&mut self.actors);
    }

    /// Starts a program in it that runs on, with variables besides the machine's own. A directory is
    /// seen at another place by it alone.
    pub fn spawn(
        &self,
        name: &str,
        (program, arguments): (&str, &[String]),
        environment: &[(String, String)],
        (directory, place): (&Path, &str),
    ) -> Result<Process> {
        const SCRIPT: &str =
            "mkdir -p \"$1\" && mount --bind \"$0\" \"$1\" && shift && exec \"$@\"";
        let mut words = self.namespaces()?;
        let directory = directory.display().to_string();
        words.extend(["/usr/bin/unshare", "--mount", "/bin/sh", "-ec", SCRIPT].map(str::to_owned));
        words.extend([directory, place.to_owned(), program.to_owned()]);
        words.extend(arguments.iter().cloned());
        let mut spec = Spec::new(name, "/usr/bin/nsenter".as_ref(), words);
        spec.environment.clone_from(&self.environment);
        spec.environment.extend(environment.iter().cloned());
        self.testbed.spawn(spec)
    }

    /// Ends the machine and all that runs in it.
    ///
    /// # Panics
    ///
    /// When anything was called of AWS in it that the policies of who acts there do not grant.
    pub fn end(mut self) {
        if let Err(error) = check_granted(&self.actors, &called(&self.calls)) {
            panic!("{error}");
        }
        for mut relay in self.relays {
            relay.kill();
        }
        self.process.kill();
    }
}

fn path_with(directory: &Path) -> String {
    format!(
        "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        directory.display()
    )
}
