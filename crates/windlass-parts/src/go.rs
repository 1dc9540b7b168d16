//! etcd, the control plane, kwok and `leaderelect`: built by Go from the module in `testbed`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::key::Key;
use crate::system;

/// The programs and the packages they are built from. The first takes by far the longest, since
/// the others share most of its packages.
const PROGRAMS: [(&str, &str); 6] = [
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    (
        "kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
    ),
    ("kubeadm", "k8s.io/kubernetes/cmd/kubeadm"),
    ("kwok", "sigs.k8s.io/kwok/cmd/kwok"),
    ("etcd", "go.etcd.io/etcd/server/v3"),
];

/// The packages of helm and of kustomize.
const RENDERERS: [&str; 2] = [
    "helm.sh/helm/v3/cmd/helm",
    "sigs.k8s.io/kustomize/kustomize/v5",
];

/// What kwok is to play, out of its own module, besides [`OWN_STAGES`]. Without stages it exits at
/// once.
const STAGES: [&str; 4] = [
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
];

/// What kwok is to play otherwise than it would, beside the module.
const OWN_STAGES: &str = "../kwok/pod-delete.yaml";

/// Without these a client sees version v0.0.0, and kubeadm refuses to work.
const LDFLAGS: &str = "-s -w \
    -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=36 \
    -X k8s.io/component-base/version.gitTreeState=clean";

pub(crate) struct GoParts {
    directory: PathBuf,
    pub(crate) leaderelect: PathBuf,
    pub(crate) stages: PathBuf,
}

impl GoParts {
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

pub(crate) fn ensure(module: &Path, cache: &Path, say: &mut dyn FnMut(&str)) -> Result<GoParts> {
    let leaderelect_key = pins(module)?.add_file(&module.join("leaderelect/main.go"))?;
    let stages_key = pins(module)?
        .add_file(&module.join(OWN_STAGES))?
        .add(STAGES.concat().as_bytes());
    let directory = cache.join(pins(module)?.name("controlplane"));
    let parts = GoParts {
        leaderelect: cache
            .join(leaderelect_key.name("leaderelect"))
            .join("leaderelect"),
        stages: directory
            .join(stages_key.name("kwok-stages"))
            .with_extension("yaml"),
        directory,
    };

    for (name, package) in PROGRAMS {
        build(module, package, &parts.program(name), say)?;
    }
    build(module, "./leaderelect", &parts.leaderelect, say)?;
    if !parts.stages.exists() {
        write_stages(module, &parts.stages)?;
    }
    Ok(parts)
}

/// The kubelet alone: the suite that joins a real node needs it, the others do not.
pub(crate) fn ensure_kubelet(
    module: &Path,
    cache: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf> {
    let kubelet = cache
        .join(pins(module)?.name("controlplane"))
        .join("kubelet");
    build(module, "k8s.io/kubernetes/cmd/kubelet", &kubelet, say)?;
    Ok(kubelet)
}

/// kubectl alone: the suite that builds images needs it, the others do not.
pub(crate) fn ensure_kubectl(
    module: &Path,
    cache: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf> {
    let key = pins(module)?.add_file(&module.join("main.go"))?;
    let kubectl = cache.join(key.name("kubectl")).join("kubectl");
    build(module, ".", &kubectl, say)?;
    Ok(kubectl)
}

/// helm and kustomize: the suite of the manifests needs them, the others do not.
pub(crate) fn ensure_renderers(
    module: &Path,
    cache: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<[PathBuf; 2]> {
    let directory = cache.join(pins(module)?.name("charts"));
    let programs = ["helm", "kustomize"].map(|name| directory.join(name));
    for (program, package) in programs.iter().zip(RENDERERS) {
        build(module, package, program, say)?;
    }
    Ok(programs)
}

/// What every program is made from.
fn pins(module: &Path) -> Result<Key> {
    Key::new()
        .add(LDFLAGS.as_bytes())
        .add_file(&module.join("go.mod"))?
        .add_file(&module.join("go.sum"))
}

/// Builds one program, unless it is there. It appears under its name only when it is whole.
fn build(module: &Path, package: &str, program: &Path, say: &mut dyn FnMut(&str)) -> Result<()> {
    if program.exists() {
        return Ok(());
    }
    system::require(&[system::Program::Go])?;
    let directory = program.parent().context("a program lies in a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("create `{}`", directory.display()))?;
    say(&format!("building {package}"));
    let begun = Instant::now();
    let unfinished = program.with_extension("unfinished");
    let mut go = Command::new("go");
    go.current_dir(module)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .args([
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            LDFLAGS,
            "-o",
        ])
        .args([unfinished.as_os_str(), package.as_ref()]);
    system::run_with_patience(&mut go, say)?;
    fs::rename(&unfinished, program)
        .with_context(|| format!("rename `{}`", unfinished.display()))?;
    say(&format!(
        "built {package} in {} s",
        begun.elapsed().as_secs()
    ));
    Ok(())
}

fn write_stages(module: &Path, path: &Path) -> Result<()> {
    system::require(&[system::Program::Go])?;
    let output = Command::new("go")
        .current_dir(module)
        .args(["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"])
        .output()
        .context("run `go list`")?;
    if !output.status.success() {
        bail!(
            "`go list -m sigs.k8s.io/kwok`: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let kwok = PathBuf::from(String::from_utf8(output.stdout)?.trim()).join("kustomize/stage");
    let files = STAGES.iter().map(|stage| kwok.join(stage));
    let mut stages = String::new();
    for file in files.chain([module.join(OWN_STAGES)]) {
        stages += "---\n";
        stages +=
            &fs::read_to_string(&file).with_context(|| format!("read `{}`", file.display()))?;
        stages += "\n";
    }
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, stages).with_context(|| format!("write `{}`", unfinished.display()))?;
    fs::rename(&unfinished, path).with_context(|| format!("rename `{}`", unfinished.display()))
}
