//! A Debian in a directory, with a signed repository of packages, that images are made of. Linux,
//! and root.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use windlass_parts::ImageParts;
use windlass_provision::ami::sha256;

/// Version of the packages of Kubernetes.
const VERSION: &str = "1.36.3-1.1";
/// Where the repository and the downloads are, seen from inside.
const INSIDE: &str = "/srv";

/// The images that the archive of images has, which are those that kubeadm wants.
pub const CONTAINER_IMAGES: [&str; 2] = [
    "registry.k8s.io/pause:3.10.2",
    "registry.k8s.io/kube-proxy:v1.36.3",
];

/// A program that waits for ever, and what it is loaded with.
const WAITS_FOR_EVER: [&str; 3] = [
    "usr/bin/sleep",
    "lib64/ld-linux-x86-64.so.2",
    "lib/x86_64-linux-gnu/libc.so.6",
];

/// A Debian in a directory. Dropping it removes the directory.
#[derive(Debug)]
pub struct Chroot {
    root: PathBuf,
    /// The public key of the repository, in ASCII armour.
    pub key: String,
    /// SHA-256 of `/srv/windlass`.
    pub windlass_sha256: String,
    /// SHA-256 of `/srv/images.tar`.
    pub images_sha256: String,
}

impl Chroot {
    /// A fresh Debian in `directory`, with packages, windlass and an archive of images below `/srv`.
    pub fn unpack(directory: &Path) -> Result<Self> {
        let parts = ImageParts::ensure(&mut |line| eprintln!("{line}"))?;
        let root = directory.join("root");
        fs::create_dir_all(&root)?;
        run(Command::new("tar")
            .arg("-xf")
            .arg(&parts.base)
            .arg("-C")
            .arg(&root))?;
        // Nothing but the repository of the test: no mirror, so that it is the same every time.
        let _ = fs::remove_file(root.join("etc/apt/sources.list"));
        let srv = root.join("srv");
        let key = repository(&parts, directory, &srv.join("repository"))?;
        let windlass = srv.join("windlass");
        fs::copy(crate::binary()?, &windlass).context("copy windlass")?;
        let images = images(directory, &root, &srv.join("images.tar"))?;
        Ok(Self {
            windlass_sha256: sha256(&fs::read(&windlass)?),
            images_sha256: images,
            root,
            key,
        })
    }

    /// The directory that is its root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `spec.ami` for it: the repository above, nothing from the network.
    pub fn ami(&self) -> Value {
        json!({
            "source": {"id": "ami-1e749f67"},
            "packages": {
                "containerd": "containerd=1.6.*",
                "cniPlugins": "containernetworking-plugins",
                "criTools": null,
            },
            "repositories": [{
                "name": "test",
                "uri": format!("file:{INSIDE}/repository"),
                "suite": "./",
                "key": {"text": self.key},
            }],
            "windlass": {
                "url": format!("file://{INSIDE}/windlass"),
                "sha256": self.windlass_sha256,
            },
            "containerImages": {"archives": [{
                "url": format!("file://{INSIDE}/images.tar"),
                "sha256": self.images_sha256,
                "images": CONTAINER_IMAGES,
            }]},
        })
    }

    /// Runs a script of bash inside, as root, with processes and mounts of its own.
    pub fn run(&self, script: &str, environment: &[(String, String)]) -> Result<Output> {
        let path = self.root.join("srv/script.sh");
        fs::write(&path, script)?;
        let inside = "mount -t proc proc \"$0/proc\" && exec chroot \"$0\" bash /srv/script.sh";
        Command::new("unshare")
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                inside,
            ])
            .arg(&self.root)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .output()
            .context("run unshare")
    }

    /// All that is in it but what the test has put there: path, kind, owner, mode, content.
    pub fn tree(&self) -> Result<Vec<String>> {
        let script = "find . -xdev \\( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run \
             -o -path ./tmp -o -path ./srv \\) -prune -o \\( -type f -printf '%p %m %U %G ' -exec \
             sha256sum '{}' ';' -o -printf '%p %y %m %U %G %l\\n' \\)";
        let output = Command::new("sh")
            .args(["-c", script])
            .current_dir(&self.root)
            .output()
            .context("list the tree")?;
        ensure!(output.status.success(), "find: {}", output.status);
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        Ok(lines)
    }
}

impl Drop for Chroot {
    fn drop(&mut self) {
        // What is left behind is in the suite's own temporary directory.
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Makes a signed repository of Debian's packages and of packages of the programs, and gives its key.
fn repository(parts: &ImageParts, scratch: &Path, into: &Path) -> Result<String> {
    fs::create_dir_all(into)?;
    for entry in fs::read_dir(&parts.packages)? {
        let entry = entry?;
        let copy = into.join(entry.file_name());
        // A link where the file system lets us: nobody writes to a package.
        if fs::hard_link(entry.path(), &copy).is_err() {
            fs::copy(entry.path(), &copy)?;
        }
    }
    for program in &parts.kubernetes {
        kubernetes_package(program, scratch, into)?;
    }
    let index = |arguments: &[&str], file: &str| -> Result<()> {
        let text = run(Command::new("apt-ftparchive")
            .args(arguments)
            .current_dir(into))?;
        fs::write(into.join(file), text).with_context(|| format!("write {file}"))
    };
    index(&["packages", "."], "Packages")?;
    index(&["release", "."], "Release")?;

    let home = scratch.join("gnupg");
    fs::create_dir_all(&home)?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
    let gpg = |arguments: &[&str]| {
        let mut command = Command::new("gpg");
        command
            .arg("--homedir")
            .arg(&home)
            .args(["--batch", "--quiet", "--yes"])
            .args(arguments)
            .current_dir(into);
        run(&mut command)
    };
    let name = "repository of a test <test@example.com>";
    gpg(&[
        "--passphrase",
        "",
        "--quick-generate-key",
        name,
        "rsa2048",
        "sign",
        "never",
    ])?;
    gpg(&["--output", "InRelease", "--clearsign", "Release"])?;
    let key = gpg(&["--armor", "--export"])?;
    // Its agent would go on for ever.
    let _ = run(Command::new("gpgconf")
        .arg("--homedir")
        .arg(&home)
        .args(["--kill", "all"]));
    Ok(key)
}

/// A package of one of Kubernetes' programs, with its version and its files where pkgs.k8s.io's have
/// them.
fn kubernetes_package(program: &Path, scratch: &Path, into: &Path) -> Result<()> {
    const KUBELET_UNIT: &str = "[Unit]\nDescription=kubelet\n\n[Service]\n\
        ExecStart=/usr/bin/kubelet\nRestart=always\nRestartSec=10\n\n[Install]\n\
        WantedBy=multi-user.target\n";
    let name = program
        .file_name()
        .and_then(|name| name.to_str())
        .context("a program has a name")?;
    let package = scratch.join(format!("package-{name}"));
    fs::create_dir_all(package.join("DEBIAN"))?;
    fs::create_dir_all(package.join("usr/bin"))?;
    fs::copy(program, package.join("usr/bin").join(name))?;
    if name == "kubelet" {
        let units = package.join("usr/lib/systemd/system");
        fs::create_dir_all(&units)?;
        fs::write(units.join("kubelet.service"), KUBELET_UNIT)?;
    }
    let architecture = run(Command::new("dpkg").arg("--print-architecture"))?;
    fs::write(
        package.join("DEBIAN/control"),
        format!(
            "Package: {name}\nVersion: {VERSION}\nArchitecture: {}\n\
             Maintainer: a test <test@example.com>\nDescription: {name}\n",
            architecture.trim()
        ),
    )?;
    run(Command::new("dpkg-deb")
        .args(["-Znone", "--root-owner-group", "--build"])
        .args([&package, &into.join(format!("{name}.deb"))]))?;
    fs::remove_dir_all(package)?;
    Ok(())
}

/// Makes an archive of [`CONTAINER_IMAGES`] and gives its SHA-256: one layer each, with a file of its
/// own and a program that waits for ever, out of a Debian at `root`.
fn images(scratch: &Path, root: &Path, archive: &Path) -> Result<String> {
    let layout = scratch.join("oci");
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let blob = |media_type: &str, bytes: &[u8]| -> Result<Value> {
        let hash = sha256(bytes);
        fs::write(blobs.join(&hash), bytes)?;
        Ok(json!({
            "mediaType": format!("application/vnd.oci.image.{media_type}"),
            "digest": format!("sha256:{hash}"),
            "size": bytes.len(),
        }))
    };
    let mut manifests = Vec::new();
    for name in CONTAINER_IMAGES {
        fs::write(scratch.join("name"), name)?;
        let tar = scratch.join("layer.tar");
        run(Command::new("tar")
            .arg("-cf")
            .arg(&tar)
            .args(["--owner=0", "--group=0", "--dereference", "name", "-C"])
            .arg(root)
            .args(WAITS_FOR_EVER)
            .current_dir(scratch))?;
        let layer = blob("layer.v1.tar", &fs::read(&tar)?)?;
        let configuration = json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Entrypoint": [format!("/{}", WAITS_FOR_EVER[0]), "infinity"]},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        let config = blob("config.v1+json", configuration.to_string().as_bytes())?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [layer],
        });
        let mut manifest = blob("manifest.v1+json", manifest.to_string().as_bytes())?;
        manifest["annotations"] = json!({"io.containerd.image.name": name});
        manifests.push(manifest);
    }
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    fs::write(layout.join("index.json"), index.to_string())?;
    fs::write(
        layout.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    run(Command::new("tar")
        .arg("-cf")
        .arg(archive)
        .arg("-C")
        .arg(&layout)
        .arg("."))?;
    Ok(sha256(&fs::read(archive)?))
}
