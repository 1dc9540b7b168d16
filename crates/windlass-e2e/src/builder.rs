//! What the instance of `windlass ami build` does: no instance of moto runs, so its own user data is
//! run in a Debian of the test's.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use windlass_testbed::{Testbed, wait_for};

use crate::{Chroot, expect};

/// Time for a process that has just started on a busy machine.
const SOON: Duration = Duration::from_mins(1);
/// EC2 takes no longer user data, before base64.
const MAX_USER_DATA: usize = 16_384;
/// Powering off is what a test can see, and not what its machine does.
const SYSTEMCTL: &str = "#!/bin/sh
if [ \"$1\" = poweroff ]; then exec touch /srv/powered-off; fi
exec systemctl \"$@\"
";

/// The contents of all elements of one name.
pub fn values(xml: &str, element: &str) -> Vec<String> {
    xml.split(&format!("<{element}>"))
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(&format!("</{element}>"))?.0.to_owned()))
        .collect()
}

/// Waits for the instance that a build launches.
pub fn launched_builder(testbed: &Testbed) -> Result<String> {
    let of_a_build = [
        ("Filter.1.Name", "tag-key"),
        ("Filter.1.Value.1", "windlass.dev/build"),
        ("Filter.2.Name", "instance-state-name"),
        ("Filter.2.Value.1", "pending"),
        ("Filter.2.Value.2", "running"),
    ];
    let mut found = None;
    wait_for("the builder to be launched", SOON, || {
        let described = testbed
            .aws()
            .query("ec2", "DescribeInstances", &of_a_build)?;
        found = values(&described, "instanceId").into_iter().next();
        Ok(found.is_some())
    })?;
    found.context("an instance")
}

/// Plays a builder: runs its own user data, and stops it once that has powered it off. Gives what
/// it said.
pub fn play_builder(testbed: &Testbed, chroot: &Chroot, instance: &str) -> Result<String> {
    let asked = [("InstanceId", instance), ("Attribute", "userData")];
    let attribute = testbed
        .aws()
        .query("ec2", "DescribeInstanceAttribute", &asked)?;
    let encoded = values(&attribute, "value").into_iter().next();
    let compressed = BASE64_STANDARD.decode(encoded.context("user data")?.trim())?;
    ensure!(
        compressed.len() < MAX_USER_DATA,
        "{} bytes",
        compressed.len()
    );
    let srv = chroot.root().join("srv");
    let file = srv.join("user-data.gz");
    fs::write(&file, compressed)?;
    let unpacked = Command::new("gunzip").arg("-c").arg(&file).output()?;
    ensure!(unpacked.status.success(), "gunzip: {}", unpacked.status);

    let systemctl = srv.join("systemctl");
    fs::write(&systemctl, SYSTEMCTL)?;
    fs::set_permissions(&systemctl, Permissions::from_mode(0o755))?;
    let mut environment = Testbed::aws_environment(&testbed.moto_url());
    environment.push(("WINDLASS_SYSTEMCTL".to_owned(), "/srv/systemctl".to_owned()));
    let output = chroot.run(&String::from_utf8_lossy(&unpacked.stdout), &environment)?;
    let said = expect(&output, output.status.code().unwrap_or(-1), "")?;
    let powered_off = srv.join("powered-off");
    ensure!(powered_off.exists(), "it still runs: {said}");
    fs::remove_file(powered_off)?;
    stop_instance(testbed, instance)?;
    Ok(said)
}

/// Stops an instance, as its own power-off does.
pub fn stop_instance(testbed: &Testbed, instance: &str) -> Result<()> {
    let stopped = [("InstanceId.1", instance)];
    testbed.aws().query("ec2", "StopInstances", &stopped)?;
    Ok(())
}
