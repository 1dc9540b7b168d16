//! Machine images: the script run in a Debian of its own, from a signed repository with packages of
//! the real kubelet, kubeadm and kubectl, and everything that `windlass ami check` looks at broken.
//!
//! Needs root, as the machines have on which images are built.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use windlass_e2e::{
    CONTAINER_IMAGES, Chroot, Ssm, expect, launched_builder, play_builder, stop_instance, values,
};
use windlass_testbed::Testbed;

/// An image that the script has made.
struct Image {
    chroot: Chroot,
    directory: PathBuf,
    config: PathBuf,
}

/// The names of the checks that fail, each with why.
type Failed = Vec<(String, String)>;

/// One image for all tests: to make one takes half a minute.
static IMAGE: LazyLock<Result<Image>> = LazyLock::new(|| {
    let directory = std::env::temp_dir().join(format!("windlass-ami-{}", std::process::id()));
    let chroot = Chroot::unpack(&directory)?;
    let config = directory.join("cluster.yaml");
    write_config(&config, &chroot.ami())?;
    let image = Image {
        chroot,
        directory,
        config,
    };
    image.provision()?;
    Ok(image)
});

fn image() -> Result<&'static Image> {
    IMAGE.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))
}

fn write_config(path: &Path, ami: &Value) -> Result<()> {
    let config = json!({
        "apiVersion": "windlass.dev/v1alpha1",
        "kind": "Cluster",
        "spec": {
            "cluster": "prod",
            "region": windlass_testbed::REGION,
            "endpoint": "api.example.com:443",
            "kubernetes": "v1.36.3",
            "subnets": ["subnet-1"],
            "securityGroups": ["sg-1"],
            "ami": ami,
        },
    });
    fs::write(path, config.to_string()).with_context(|| format!("write `{}`", path.display()))
}

fn windlass(arguments: &[&str], config: &Path) -> Result<Output> {
    Command::new(windlass_e2e::binary()?)
        .arg("ami")
        .args(arguments)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .output()
        .context("run windlass")
}

impl Image {
    /// Runs the script, and gives what it said.
    fn provision(&self) -> Result<String> {
        let script = windlass(&["script"], &self.config)?;
        expect(&script, 0, "set -Eeuo pipefail")?;
        let output = self
            .chroot
            .run(&String::from_utf8_lossy(&script.stdout), &[])?;
        expect(&output, 0, "section clean ok")
    }

    /// The names of the checks, and of those that fail with why.
    fn check(&self, more: &[&str]) -> Result<(Vec<String>, Failed)> {
        let root = self.chroot.root().to_string_lossy();
        let output = Command::new(windlass_e2e::binary()?)
            .args(["ami", "check", "-o", "json", "--root", &root])
            .args(more)
            .output()
            .context("run windlass")?;
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or("").to_owned();
        let failed: Failed = findings
            .iter()
            .filter(|finding| finding["ok"] != true)
            .map(|finding| (text(finding, "name"), text(finding, "fault")))
            .collect();
        let code = if failed.is_empty() { 0 } else { 2 };
        ensure!(output.status.code() == Some(code), "{}", output.status);
        let names = findings
            .iter()
            .map(|finding| text(finding, "name"))
            .collect();
        Ok((names, failed))
    }

    /// Breaks something by a script that begins at the image's root, and gives which checks fail; all
    /// that is below `paths` is put back.
    fn failing_after(&self, paths: &[&str], script: &str) -> Result<Failed> {
        let root = self.chroot.root();
        let saved = self.directory.join("saved.tar");
        let is_there = |path: &&&str| fs::symlink_metadata(root.join(path)).is_ok();
        let present: Vec<&str> = paths.iter().filter(is_there).copied().collect();
        shell(
            root,
            &format!("tar -cf '{}' -- {}", saved.display(), present.join(" ")),
            !present.is_empty(),
        )?;
        shell(root, script, true)?;
        let failed = self.check(&[]);
        shell(root, &format!("rm -rf -- {}", paths.join(" ")), true)?;
        shell(
            root,
            &format!("tar -xpf '{}'", saved.display()),
            !present.is_empty(),
        )?;
        Ok(failed?.1)
    }
}

fn shell(directory: &Path, script: &str, wanted: bool) -> Result<()> {
    if !wanted {
        return Ok(());
    }
    let output = Command::new("sh")
        .args(["-ec", script])
        .current_dir(directory)
        .output()
        .context("run sh")?;
    ensure!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[test]
fn the_script_makes_an_image_that_is_right_and_changes_nothing_again() -> Result<()> {
    let image = image()?;
    // A build may have been at it.
    image.provision()?;
    let (names, failed) = image.check(&[])?;
    ensure!(failed.is_empty(), "{failed:#?}");
    ensure!(70 < names.len(), "{names:?}");
    // As the file says, and not only as the image says of itself.
    let config = image.config.to_string_lossy();
    let (_, failed) = image.check(&["--config", &config])?;
    ensure!(failed.is_empty(), "{failed:#?}");

    let before = image.chroot.tree()?;
    image.provision()?;
    let after = image.chroot.tree()?;
    let changed: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
    ensure!(before == after, "the second run changed {changed:#?}");
    Ok(())
}

/// What breaks a property: which files it touches, and how.
fn break_of(name: &str) -> Option<(Vec<&'static str>, String)> {
    const STATUS: &str = "var/lib/dpkg/status";
    const CONTAINERD: &str = "etc/containerd/config.toml";
    let paragraph = |package: &str, edit: &str| {
        format!("sed -i '/^Package: {package}$/,/^$/{{{edit}}}' {STATUS}")
    };
    let without_line = |line: &str| format!("sed -i '\\|{line}|d' {CONTAINERD}");
    let broken_program = |path: &str| {
        format!(
            "rm -f {path}; printf '#!/bin/sh\\necho v1.36.30\\nexit 1\\n' >{path}; chmod 755 {path}"
        )
    };
    let made = |path: &str| format!("mkdir -p $(dirname {path}); echo x >{path}");
    if let Some(package) = name.strip_prefix("package ") {
        let edit = match package {
            "kubelet" => "s/^Version: .*/Version: 1.36.30-1.1/",
            "containerd" => "s/^Version: .*/Version: 1.7.1/",
            _ => "s/^Status: .*/Status: deinstall ok config-files/",
        };
        return Some((vec![STATUS], paragraph(package, edit)));
    }
    if let Some(package) = name.strip_suffix(" is held") {
        let edit = "s/^Status: hold /Status: install /";
        return Some((vec![STATUS], paragraph(package, edit)));
    }
    if let Some(key) = name.strip_prefix("sysctl ") {
        let path = "etc/sysctl.d/zz-later.conf";
        return Some((vec![path], format!("echo '{key} = 7' >{path}")));
    }
    if let Some(module) = name.strip_prefix("module ") {
        let path = "etc/modules-load.d/windlass.conf";
        return Some((vec![path], format!("sed -i '/^{module}$/d' {path}")));
    }
    if let Some(plugin) = name.strip_prefix("network plugin ") {
        let plugin = plugin.strip_suffix(" runs")?;
        return Some((
            vec!["opt/cni/bin"],
            broken_program(&format!("opt/cni/bin/{plugin}")),
        ));
    }
    if let Some(unit) = name.strip_suffix(" is enabled") {
        return Some((
            vec!["etc/systemd/system"],
            format!("rm etc/systemd/system/*.wants/{unit}"),
        ));
    }
    if let Some(unit) = name.strip_suffix(" is masked") {
        return Some((
            vec!["etc/systemd/system"],
            format!("rm etc/systemd/system/{unit}"),
        ));
    }
    let of_one_file = |path: &'static str, script: String| Some((vec![path], script));
    let appended = |path: &'static str| of_one_file(path, format!("echo '# more' >>{path}"));
    match name {
        "kubelet runs" => of_one_file(
            "usr/bin/kubelet",
            "rm usr/bin/kubelet; printf '#!/bin/sh\\necho Kubernetes v1.36.30\\n' >usr/bin/kubelet; \
             chmod 755 usr/bin/kubelet"
                .to_owned(),
        ),
        "kubeadm runs" => of_one_file("usr/bin/kubeadm", broken_program("usr/bin/kubeadm")),
        "kubectl runs" => of_one_file("usr/bin/kubectl", "chmod 644 usr/bin/kubectl".to_owned()),
        "containerd runs" => of_one_file("usr/bin/containerd", "rm usr/bin/containerd".to_owned()),
        "runc runs" => of_one_file("usr/sbin/runc", broken_program("usr/sbin/runc")),
        "no swap" => of_one_file("etc/fstab", "echo '/dev/sdb none swap sw 0 0' >>etc/fstab".to_owned()),
        "containerd: imports" => of_one_file(CONTAINERD, without_line("^imports")),
        "containerd: runc v2" => of_one_file(CONTAINERD, without_line("^runtime_type")),
        "containerd: systemd cgroups" => of_one_file(
            CONTAINERD,
            format!("sed -i 's/SystemdCgroup = true/SystemdCgroup = false/' {CONTAINERD}"),
        ),
        "containerd: registries" => of_one_file(CONTAINERD, without_line("^config_path")),
        "containerd: sandbox image" => of_one_file(
            CONTAINERD,
            format!("sed -i 's|pause:[0-9.]*|pause:3.1|' {CONTAINERD}"),
        ),
        "limits of containerd" => {
            appended("etc/systemd/system/containerd.service.d/10-windlass.conf")
        }
        "arguments of the kubelet" => {
            let path = "etc/systemd/system/kubelet.service.d/10-kubeadm.conf";
            of_one_file(path, format!("chmod 666 {path}"))
        }
        "condition of the kubelet" => {
            let path = "etc/systemd/system/kubelet.service.d/20-windlass.conf";
            of_one_file(path, format!("rm {path}"))
        }
        "source of the time" => {
            let path = "etc/chrony/sources.d/windlass.sources";
            of_one_file(path, format!("chown 1 {path}"))
        }
        "updates by cloud-init" => appended("etc/cloud/cloud.cfg.d/99-windlass.cfg"),
        "unit of the join" => appended("etc/systemd/system/windlass-join.service"),
        "image.json: kubernetes" => of_one_file(
            "etc/windlass/image.json",
            "sed -i 's/v1.36.3/v1.36.2/' etc/windlass/image.json".to_owned(),
        ),
        "image.json: recipe" => of_one_file(
            "etc/windlass/image.json",
            "sed -i '/\"recipe\"/d' etc/windlass/image.json".to_owned(),
        ),
        "inventory" => of_one_file(
            "etc/windlass/sbom.json",
            "sed -i 's/\"name\": \"runc\"/\"name\": \"other\"/' etc/windlass/sbom.json".to_owned(),
        ),
        "no host keys" => of_one_file("etc/ssh/ssh_host_rsa_key", made("etc/ssh/ssh_host_rsa_key")),
        "no authorized keys" => of_one_file("home/admin", made("home/admin/.ssh/authorized_keys")),
        "no credentials" => of_one_file("root/.aws", made("root/.aws/credentials")),
        "no kubelet credentials" => {
            let path = "etc/kubernetes/kubelet.conf";
            of_one_file(path, made(path))
        }
        "no state of cloud-init" => {
            of_one_file("var/lib/cloud", made("var/lib/cloud/instances/i-1/sem"))
        }
        "no shell history" => of_one_file("root/.bash_history", made("root/.bash_history")),
        "no core dumps" => of_one_file("core.123", made("core.123")),
        "no package lists" => {
            let path = "var/lib/apt/lists/deb.debian.org_debian";
            of_one_file(path, made(path))
        }
        "no cached packages" => {
            let path = "var/cache/apt/archives/runc.deb";
            of_one_file(path, made(path))
        }
        "no random seed" => {
            let path = "var/lib/systemd/random-seed";
            of_one_file(path, made(path))
        }
        "machine id is empty" => of_one_file("etc/machine-id", made("etc/machine-id")),
        "logs are small" => {
            of_one_file("var/log/huge", "truncate -s 300M var/log/huge".to_owned())
        }
        _ => None,
    }
}

#[test]
fn each_property_that_is_broken_fails_its_check_and_no_other() -> Result<()> {
    let image = image()?;
    image.provision()?;
    let (names, _) = image.check(&[])?;
    // Broken below, each in a way of its own.
    let apart = BTreeSet::from(["windlass runs", "windlass is the one of the recipe"]);
    for name in &names {
        if apart.contains(name.as_str()) || name.starts_with("image registry") {
            continue;
        }
        let (paths, script) =
            break_of(name).with_context(|| format!("nothing breaks `{name}`: say what does"))?;
        let failed = image.failing_after(&paths, &script)?;
        let failing: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
        ensure!(failing == [name.as_str()], "broke `{name}`: {failed:#?}");
    }
    for reference in CONTAINER_IMAGES {
        missing_layer(image, reference)?;
    }
    another_windlass(image)?;
    let (_, failed) = image.check(&[])?;
    ensure!(failed.is_empty(), "not all was put back: {failed:#?}");
    Ok(())
}

/// A layer of a container image is gone.
fn missing_layer(image: &Image, reference: &str) -> Result<()> {
    let blobs = "var/lib/containerd/io.containerd.content.v1.content/blobs/sha256";
    let root = image.chroot.root();
    let noted = fs::read_to_string(root.join("etc/windlass/images.txt"))?;
    let digest = noted
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{reference} sha256:")))
        .with_context(|| format!("{reference} in {noted}"))?;
    let manifest: Value = serde_json::from_slice(&fs::read(root.join(blobs).join(digest))?)?;
    let layer = manifest["layers"][0]["digest"]
        .as_str()
        .context("a layer")?;
    let path = format!("{blobs}/{}", layer.trim_start_matches("sha256:"));
    let failed = image.failing_after(&[&path], &format!("rm {path}"))?;
    // `pause` is looked for in whatever version kubeadm wants.
    let name = reference.split(':').next().unwrap_or(reference);
    ensure!(
        failed.len() == 1 && failed[0].0.starts_with(&format!("image {name}:")),
        "{failed:#?}"
    );
    Ok(())
}

/// Another windlass than the recipe's; and one that is the recipe's and does not run.
fn another_windlass(image: &Image) -> Result<()> {
    let path = "usr/local/bin/windlass";
    let wrapped = "mv usr/local/bin/windlass usr/local/bin/w; \
                   printf '#!/bin/sh\\nexec /usr/local/bin/w \"$@\"\\n' >usr/local/bin/windlass; \
                   chmod 755 usr/local/bin/windlass";
    let failed = image.failing_after(&[path, "usr/local/bin/w"], wrapped)?;
    ensure!(
        failed.len() == 1 && failed[0].0 == "windlass is the one of the recipe",
        "{failed:#?}"
    );

    let mut ami = image.chroot.ami();
    let root = image.chroot.root();
    let saved = image.directory.join("windlass");
    fs::copy(root.join(path), &saved)?;
    fs::write(root.join(path), "#!/bin/sh\nexit 1\n")?;
    let sha256 = windlass_provision::ami::sha256(&fs::read(root.join(path))?);
    ami["windlass"]["sha256"] = json!(sha256);
    let config = image.directory.join("broken.yaml");
    write_config(&config, &ami)?;
    let failed = image.check(&["--config", &config.to_string_lossy()]);
    fs::copy(&saved, root.join(path))?;
    let failed = failed?.1;
    ensure!(
        failed.len() == 1 && failed[0].0 == "windlass runs",
        "{failed:#?}"
    );
    Ok(())
}

#[test]
fn what_is_no_image_is_refused_with_what_to_do() -> Result<()> {
    let nowhere = Command::new(windlass_e2e::binary()?)
        .args(["ami", "check", "--root", "/nowhere"])
        .output()?;
    expect(&nowhere, 1, "`/nowhere` is no directory")?;
    let directory = std::env::temp_dir().join(format!("windlass-no-image-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let empty = Command::new(windlass_e2e::binary()?)
        .args(["ami", "check", "--root"])
        .arg(&directory)
        .output()?;
    expect(&empty, 1, "hold it against a file with --config")?;
    let config = directory.join("cluster.yaml");
    write_config(&config, &Value::Null)?;
    expect(&windlass(&["script"], &config)?, 1, "has no `spec.ami`")?;
    fs::remove_dir_all(&directory)?;
    if directory.exists() {
        bail!("it is still there");
    }
    Ok(())
}

/// What AWS has of builds: instances that are not terminated, security groups, images, reports.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    instances: Vec<String>,
    groups: Vec<String>,
    images: Vec<String>,
    reports: Vec<String>,
}

impl Left {
    fn of(testbed: &Testbed) -> Result<Self> {
        let aws = testbed.aws();
        let by_tag = [
            ("Filter.1.Name", "tag-key"),
            ("Filter.1.Value.1", "windlass.dev/build"),
        ];
        let alive = [
            by_tag[0],
            by_tag[1],
            ("Filter.2.Name", "instance-state-name"),
            ("Filter.2.Value.1", "pending"),
            ("Filter.2.Value.2", "running"),
            ("Filter.2.Value.3", "stopping"),
            ("Filter.2.Value.4", "stopped"),
        ];
        let instances = aws.query("ec2", "DescribeInstances", &alive)?;
        let groups = aws.query("ec2", "DescribeSecurityGroups", &by_tag)?;
        let owned = [by_tag[0], by_tag[1], ("Owner.1", "self")];
        let images = aws.query("ec2", "DescribeImages", &owned)?;
        Ok(Self {
            instances: values(&instances, "instanceId"),
            groups: values(&groups, "groupName"),
            images: values(&images, "imageId"),
            reports: Ssm::of(testbed).names_below("/windlass/ami/")?,
        })
    }
}

/// An account with the builder's instance profile, and a configuration for it.
fn account(image: &Image) -> Result<(&'static Testbed, PathBuf)> {
    let testbed = windlass_e2e::testbed()?;
    let aws = testbed.aws();
    let profile = [("InstanceProfileName", "prod-windlass-ami")];
    aws.query("iam", "CreateInstanceProfile", &profile)?;
    let subnets = aws.query("ec2", "DescribeSubnets", &[])?;
    let subnet = values(&subnets, "subnetId").into_iter().next();
    let mut ami = image.chroot.ami();
    ami["builder"] = json!({"subnet": subnet.context("there is a subnet")?, "timeout": "10m"});
    ami["publish"] = json!({
        "copies": [{"region": "eu-west-1"}],
        "parameter": "/windlass/prod/image/amd64",
    });
    let config = testbed.directory().join("ami.yaml");
    write_config(&config, &ami)?;
    Ok((testbed, config))
}

fn start_build(testbed: &Testbed, config: &Path) -> Result<Child> {
    Command::new(windlass_e2e::binary()?)
        .args(["ami", "build", "--poll", "300ms", "-o", "json", "--config"])
        .arg(config)
        .envs(Testbed::aws_environment(&testbed.moto_url()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("run windlass")
}

#[test]
fn the_builder_s_own_user_data_makes_an_image_and_nothing_else_is_left() -> Result<()> {
    let image = image()?;
    let (testbed, config) = account(image)?;
    let running = start_build(testbed, &config)?;
    let instance = launched_builder(testbed)?;
    let said = play_builder(testbed, &image.chroot, &instance)?;
    ensure!(said.contains("result=succeeded"), "{said}");
    let output = running.wait_with_output()?;
    let text = expect(&output, 0, "section clean ok")?;
    let built: Value = serde_json::from_slice(&output.stdout).with_context(|| text.clone())?;
    let id = built["image"].as_str().context("an id")?.to_owned();
    ensure!(built["copies"]["eu-west-1"].is_string(), "{built}");

    let left = Left::of(testbed)?;
    let expected = Left {
        instances: Vec::new(),
        groups: Vec::new(),
        images: vec![id.clone()],
        reports: Vec::new(),
    };
    ensure!(left == expected, "{left:#?}");
    let described = [("ImageId.1", id.as_str())];
    let xml = testbed.aws().query("ec2", "DescribeImages", &described)?;
    for part in ["windlass.dev/kubernetes", "v1.36.3", "windlass.dev/recipe"] {
        ensure!(xml.contains(part), "no {part} in {xml}");
    }
    let announced = Ssm::of(testbed).get("/windlass/prod/image/amd64")?;
    ensure!(
        announced.is_some_and(|it| it.value == id),
        "the parameter names it"
    );

    // The same again is there already: nothing is launched, nothing changes.
    let again = start_build(testbed, &config)?.wait_with_output()?;
    let text = expect(&again, 0, "is there already")?;
    ensure!(text.contains(&id), "{text}");
    ensure!(
        Left::of(testbed)? == expected,
        "the second build made something"
    );
    Ok(())
}

/// By the user data of the instance that tests the image, run where the builder's was: as after its
/// first boot, but for what only runs where there is an init.
#[test]
fn the_boot_test_s_own_user_data_says_what_is_wrong_with_the_image() -> Result<()> {
    let image = image()?;
    let (testbed, config) = account(image)?;
    let mut document: Value = serde_json::from_str(&fs::read_to_string(&config)?)?;
    document["spec"]["ami"]["publish"]["bootTest"] = json!(true);
    fs::write(&config, document.to_string())?;
    let broken = image.chroot.root().join("etc/sysctl.d/zz-later.conf");
    for is_broken in [true, false] {
        let build = start_build(testbed, &config)?;
        let said = play_builder(testbed, &image.chroot, &launched_builder(testbed)?)?;
        ensure!(said.contains("result=succeeded"), "{said}");
        if is_broken {
            fs::write(&broken, "net.ipv4.ip_forward = 0\n")?;
        }
        let outcome = launched_builder(testbed)
            .and_then(|tester| play_builder(testbed, &image.chroot, &tester));
        if is_broken {
            fs::remove_file(&broken)?;
        }
        let said = outcome?;
        let output = build.wait_with_output()?;
        if is_broken {
            ensure!(said.contains("result=failed"), "{said}");
            expect(&output, 1, "has not passed its boot test")?;
            expect(&output, 1, "sysctl net.ipv4.ip_forward")?;
            ensure!(Left::of(testbed)?.images.is_empty());
        } else {
            ensure!(said.contains("result=succeeded"), "{said}");
            expect(&output, 0, "section boot ok")?;
            let left = Left::of(testbed)?;
            ensure!(
                left.images.len() == 1 && left.instances.is_empty(),
                "{left:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_build_that_fails_or_is_interrupted_leaves_nothing() -> Result<()> {
    let image = image()?;
    let (testbed, config) = account(image)?;
    let nothing = Left {
        instances: Vec::new(),
        groups: Vec::new(),
        images: Vec::new(),
        reports: Vec::new(),
    };
    // It stops and has said nothing.
    let build = start_build(testbed, &config)?;
    stop_instance(testbed, &launched_builder(testbed)?)?;
    let output = build.wait_with_output()?;
    expect(&output, 1, "has not said how it went")?;
    ensure!(Left::of(testbed)? == nothing, "{:?}", Left::of(testbed)?);

    // It says that it failed, and why: the hash of windlass is another.
    let mut ami: Value = serde_json::from_str(&fs::read_to_string(&config)?)?;
    ami["spec"]["ami"]["windlass"]["sha256"] = json!("0".repeat(64));
    fs::write(&config, ami.to_string())?;
    let build = start_build(testbed, &config)?;
    let instance = launched_builder(testbed)?;
    let said = play_builder(testbed, &image.chroot, &instance)?;
    ensure!(said.contains("result=failed"), "{said}");
    let output = build.wait_with_output()?;
    expect(&output, 1, "has the SHA-256")?;
    ensure!(Left::of(testbed)? == nothing, "{:?}", Left::of(testbed)?);

    // Somebody presses Ctrl-C.
    let build = start_build(testbed, &config)?;
    launched_builder(testbed)?;
    let pid = build.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status()?;
    let output = build.wait_with_output()?;
    expect(&output, 4, "interrupted: cleaning up")?;
    ensure!(Left::of(testbed)? == nothing, "{:?}", Left::of(testbed)?);
    Ok(())
}

#[test]
fn the_packer_form_is_valid() -> Result<()> {
    let packer = windlass_parts::packer(&mut |line| eprintln!("{line}"))?;
    let directory = std::env::temp_dir().join(format!("windlass-packer-{}", std::process::id()));
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/cluster.yaml");
    let out = directory.to_string_lossy().into_owned();
    let arguments = ["packer", "--packer-syntax", "1.6", "--out", &out];
    expect(&windlass(&arguments, Path::new(example))?, 0, "wrote")?;
    let validate = || {
        Command::new(&packer)
            .arg("validate")
            .arg(directory.join("windlass.pkr.hcl"))
            .env("HOME", &directory)
            .env("CHECKPOINT_DISABLE", "1")
            .stdin(Stdio::null())
            .output()
            .context("run packer")
    };
    expect(&validate()?, 0, "")?;
    // It does look: what it does not know is refused.
    let template = directory.join("windlass.pkr.hcl");
    let text = fs::read_to_string(&template)?;
    fs::write(&template, text.replace("encrypt_boot", "encrypt_boots"))?;
    let refused = validate()?;
    ensure!(!refused.status.success(), "Packer takes anything");
    fs::remove_dir_all(&directory)?;
    Ok(())
}
