//! The instance's own disks, as one file system under what containers and pods write. They are empty
//! at every start of the instance, and keep what they hold over a reboot.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use windlass_provision::join::{
    DISKS_LABEL, DISKS_MOUNT, LocalDisks, MOVED_TO_DISKS, Phase, mount_units,
};

use super::files::Paths;
use super::{Context, Stop, kubeadm};

/// What the kernel calls such a disk.
const MODEL: &str = "Amazon EC2 NVMe Instance Storage";
/// The array of several.
const ARRAY: &str = "/dev/md/windlass";
/// Time for one program: images that the machine image brought are copied.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Makes one file system of the instance's own disks and mounts it, if that is asked for, there are
/// any, and it has not been done before.
pub(super) async fn set_up(context: &Context<'_>) -> Result<(), Stop> {
    let (paths, report) = (context.paths, context.report);
    if context.config.local_disks == LocalDisks::None || is_mounted(paths) {
        return Ok(());
    }
    let refused = |why: String| Stop::for_good(Phase::Configure, format!("local disks: {why}"));
    let disks = disks(paths).map_err(|error| refused(error.to_string()))?;
    if disks.is_empty() {
        report.say("local disks: this instance type has none");
        return Ok(());
    }
    let names = disks.join(", ");
    if context.dry_run {
        report.say(&format!("would make {DISKS_MOUNT} of {names}"));
        return Ok(());
    }
    report.say(&format!("local disks: {DISKS_MOUNT} of {names}"));
    let run = async |program: &str, arguments: &[&str]| {
        run(context, program.as_ref(), arguments)
            .await
            .map_err(refused)
    };
    let systemctl =
        async |arguments: &[&str]| run_systemctl(context, arguments).await.map_err(refused);
    if !has_file_system().await {
        let device = match &disks[..] {
            [one] => one.clone(),
            several => {
                let count = several.len().to_string();
                let create = [
                    "--create",
                    ARRAY,
                    "--run",
                    "--force",
                    "--level=0",
                    "--raid-devices",
                ];
                let members = several.iter().map(String::as_str);
                let arguments: Vec<&str> =
                    create.into_iter().chain([&*count]).chain(members).collect();
                run("mdadm", &arguments).await?;
                paths.at(ARRAY).display().to_string()
            }
        };
        // No blocks are kept for root, and none is discarded: they are new.
        let options = [
            "-q",
            "-F",
            "-m",
            "0",
            "-E",
            "nodiscard",
            "-L",
            DISKS_LABEL,
            &device,
        ];
        run("mkfs.ext4", &options).await?;
    }
    let units = mount_units();
    write_units(paths, &units).map_err(|error| refused(format!("cannot write units: {error}")))?;
    let names: Vec<&str> = units.iter().map(|(name, _)| name.as_str()).collect();
    systemctl(&["daemon-reload"]).await?;
    // Who has files open there would go on with those.
    systemctl(&["stop", "kubelet", "containerd"]).await?;
    systemctl(&["start", names[0]]).await?;
    for place in MOVED_TO_DISKS {
        let (from, to) = (paths.at(place.path), paths.at(DISKS_MOUNT).join(place.name));
        let made = fs::create_dir_all(&from).and_then(|()| fs::create_dir_all(&to));
        made.map_err(|error| refused(format!("{}: {error}", place.path)))?;
        let (from, to) = (from.join("."), to.display().to_string());
        run("cp", &["--archive", &from.display().to_string(), &to]).await?;
    }
    systemctl(&[&["enable"], &names[..]].concat()).await?;
    systemctl(&[&["start"], &names[1..]].concat()).await?;
    systemctl(&["start", "containerd"]).await
}

fn is_mounted(paths: &Paths) -> bool {
    let mounts = fs::read_to_string(paths.at("/proc/mounts")).unwrap_or_default();
    mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == Some(DISKS_MOUNT))
}

/// The devices of the instance's own disks.
fn disks(paths: &Paths) -> io::Result<Vec<String>> {
    let mut disks = Vec::new();
    for entry in fs::read_dir(paths.at("/sys/block"))? {
        let entry = entry?;
        let model = fs::read_to_string(entry.path().join("device/model")).unwrap_or_default();
        if model.trim() == MODEL {
            let device = format!("/dev/{}", entry.file_name().to_string_lossy());
            disks.push(paths.at(&device).display().to_string());
        }
    }
    disks.sort();
    Ok(disks)
}

/// Whether there is one of an earlier boot, of which only the mounting has failed.
async fn has_file_system() -> bool {
    let mut blkid = Command::new("blkid");
    // Without its cache, which may know a disk of before a stop.
    blkid
        .args(["-c", "/dev/null", "-L", DISKS_LABEL])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(TIMEOUT, blkid.output()).await;
    matches!(output, Ok(Ok(output)) if output.status.success())
}

async fn run(context: &Context<'_>, program: &OsStr, arguments: &[&str]) -> Result<(), String> {
    let name = program.to_string_lossy();
    let command = kubeadm::command(program, arguments);
    let deadline = TIMEOUT.min(context.time_left());
    kubeadm::run(context, &name, command, deadline, std::future::pending())
        .await
        .map_err(|trouble| trouble.told_of(&name))
}

async fn run_systemctl(context: &Context<'_>, arguments: &[&str]) -> Result<(), String> {
    run(context, &context.paths.systemctl, arguments).await
}

fn write_units(paths: &Paths, units: &[(String, String)]) -> io::Result<()> {
    let directory = paths.at("/etc/systemd/system");
    fs::create_dir_all(&directory)?;
    units
        .iter()
        .try_for_each(|(name, text)| fs::write(Path::new(&directory).join(name), text))
}
