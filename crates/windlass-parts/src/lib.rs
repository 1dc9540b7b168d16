//! The programs of the test bed, built or installed once into a cache outside the checkout.
//!
//! [`Parts::ensure`] gives the paths of etcd, the control plane of Kubernetes, kwok, moto and
//! `leaderelect`. What is there already is taken as it is, without the network; what is missing is
//! built by Go from `testbed/controlplane` or installed by pip from `testbed/moto`. The cache is
//! `$WINDLASS_CACHE`, else `$XDG_CACHE_HOME/windlass`, else `~/.cache/windlass`, and every entry's
//! name carries a hash of what it was made from, so that a change of a pin makes a new entry.
//!
//! The crate refuses to know how the parts are run; that is `windlass-testbed`. It has no
//! dependency that takes long to compile, since `cargo xtask` stands on it.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context, Result};

mod go;
mod image;
mod key;
mod moto;
mod system;

/// The paths of the programs, all of them there.
#[derive(Clone, Debug)]
pub struct Parts {
    /// `etcd`, the store of the API server.
    pub etcd: PathBuf,
    /// `kube-apiserver`.
    pub api_server: PathBuf,
    /// `kube-scheduler`.
    pub scheduler: PathBuf,
    /// `kube-controller-manager`.
    pub controller_manager: PathBuf,
    /// `kubeadm`.
    pub kubeadm: PathBuf,
    /// `kwok`, which plays the kubelets.
    pub kwok: PathBuf,
    /// The stages that kwok plays: nodes get ready, pods run, complete and are deleted.
    pub kwok_stages: PathBuf,
    /// moto's server, the AWS of the test bed.
    pub moto_server: PathBuf,
    /// client-go's leader election as a program, from `testbed/controlplane/leaderelect`.
    pub leaderelect: PathBuf,
}

impl Parts {
    /// Builds and installs what the cache lacks. `say` is told of each step that takes long.
    ///
    /// Two calls at once, also from two processes, do not disturb each other: the second waits.
    pub fn ensure(say: &mut dyn FnMut(&str)) -> Result<Self> {
        let (cache, _lock) = locked_cache()?;
        let testbed = workspace_root().join("testbed");
        let go = go::ensure(&testbed.join("controlplane"), &cache, say)?;
        let moto_server = moto::server(&testbed.join("moto"), &cache, say)?;
        Ok(Self {
            etcd: go.program("etcd"),
            api_server: go.program("kube-apiserver"),
            scheduler: go.program("kube-scheduler"),
            controller_manager: go.program("kube-controller-manager"),
            kubeadm: go.program("kubeadm"),
            kwok: go.program("kwok"),
            kwok_stages: go.stages,
            moto_server,
            leaderelect: go.leaderelect,
        })
    }
}

/// What a real node needs besides: Linux and root to run it.
#[derive(Clone, Debug)]
pub struct NodeParts {
    /// `kubelet`.
    pub kubelet: PathBuf,
    /// The directory of the network plugins.
    pub cni_plugins: PathBuf,
}

impl NodeParts {
    /// Builds and installs what is missing, as [`Parts::ensure`] does.
    pub fn ensure(say: &mut dyn FnMut(&str)) -> Result<Self> {
        let (cache, _lock) = locked_cache()?;
        system::require(&[system::Program::Node])?;
        let module = workspace_root().join("testbed/controlplane");
        Ok(Self {
            kubelet: go::ensure_kubelet(&module, &cache, say)?,
            cni_plugins: PathBuf::from("/usr/lib/cni"),
        })
    }
}

/// What machine images are built from in tests: Linux and root to build them.
#[derive(Clone, Debug)]
pub struct ImageParts {
    /// An archive (tar) of the root of a small Debian.
    pub base: PathBuf,
    /// A directory with those of Debian's packages that a node needs; without an index.
    pub packages: PathBuf,
    /// `kubelet`, `kubeadm` and `kubectl`.
    pub kubernetes: [PathBuf; 3],
}

impl ImageParts {
    /// Builds and installs what is missing, as [`Parts::ensure`] does.
    pub fn ensure(say: &mut dyn FnMut(&str)) -> Result<Self> {
        let parts = Parts::ensure(say)?;
        let (cache, _lock) = locked_cache()?;
        system::require(&[system::Program::Image])?;
        let testbed = workspace_root().join("testbed");
        let kubelet = go::ensure_kubelet(&testbed.join("controlplane"), &cache, say)?;
        let kubectl = go::ensure_kubectl(&testbed.join("kubectl"), &cache, say)?;
        let debian = image::ensure(&cache, say)?;
        Ok(Self {
            base: debian.base,
            packages: debian.packages,
            kubernetes: [kubelet, parts.kubeadm, kubectl],
        })
    }
}

/// What renders what is under `deploy/`, as its users do.
#[derive(Clone, Debug)]
pub struct Renderers {
    /// `helm`, version 3.
    pub helm: PathBuf,
    /// `kustomize`.
    pub kustomize: PathBuf,
}

impl Renderers {
    /// Builds what is missing, as [`Parts::ensure`] does.
    pub fn ensure(say: &mut dyn FnMut(&str)) -> Result<Self> {
        let (cache, _lock) = locked_cache()?;
        let module = workspace_root().join("testbed/charts");
        let [helm, kustomize] = go::ensure_renderers(&module, &cache, say)?;
        Ok(Self { helm, kustomize })
    }
}

/// Packer 1.6.6, the last one that a Debian has: fetched as [`ImageParts::ensure`] does.
pub fn packer(say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let (cache, _lock) = locked_cache()?;
    system::require(&[system::Program::Image])?;
    let debian = image::ensure(&cache, say)?;
    image::ensure_packer(&cache, &debian, say)
}

/// The AWS command line, `aws`: built and installed as [`Parts::ensure`] does.
pub fn aws_cli(say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let (cache, _lock) = locked_cache()?;
    let source = workspace_root().join("testbed/awscli");
    moto::ensure(&source, &cache, ("awscli", "aws"), say)
}

/// The cache, and the lock by which one process at a time fills it.
fn locked_cache() -> Result<(PathBuf, File)> {
    let cache = cache_directory()?;
    fs::create_dir_all(&cache).with_context(|| format!("create `{}`", cache.display()))?;
    let lock_path = cache.join("lock");
    let lock =
        File::create(&lock_path).with_context(|| format!("create `{}`", lock_path.display()))?;
    lock.lock()
        .with_context(|| format!("lock `{}`", lock_path.display()))?;
    Ok((cache, lock))
}

/// Where the parts are kept from one run to the next.
pub fn cache_directory() -> Result<PathBuf> {
    if let Some(named) = env::var_os("WINDLASS_CACHE").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(named));
    }
    if let Some(base) = env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        return Ok(Path::new(&base).join("windlass"));
    }
    let home = env::var_os("HOME")
        .context("there is no place for the cache: set WINDLASS_CACHE (or HOME) to a directory")?;
    Ok(Path::new(&home).join(".cache").join("windlass"))
}

/// The root of the checkout at hand: the one that cargo runs this program for, else the one that
/// this crate was compiled in. (They differ where two checkouts share a target directory, since
/// cargo takes what the other has built of the same sources.)
pub fn workspace_root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let at_hand = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let compiled_in = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        at_hand
            .and_then(|package| root_above(&package))
            .or_else(|| root_above(&compiled_in))
            .unwrap_or(compiled_in)
    });
    &ROOT
}

/// The folder at or above `package` that has the test bed's sources, as only the root has.
fn root_above(package: &Path) -> Option<PathBuf> {
    let is_root = |folder: &&Path| folder.join("testbed/controlplane/go.mod").is_file();
    package.ancestors().find(is_root).map(Path::to_owned)
}
