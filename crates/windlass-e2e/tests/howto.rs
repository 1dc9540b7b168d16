//! The scheme of 2019, as it was, beside Windlass in compat mode: its user data joins with what
//! Windlass publishes, and its hourly cron job and Windlass do not disturb each other. The AWS
//! command line is the real one, the instance's own tools (`ec2metadata`, `hostnamectl`, `sudo`)
//! are stubs that say and do what the originals do. Its region is the how-to's.

use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use windlass_e2e::{Credential, Instance, Machine, Network, Ssm, Tool, joinable_testbed};
use windlass_provision::iam::Actor;
use windlass_testbed::{Testbed, User, is_ready, wait_for};

const USER_DATA: &str = include_str!("howto/user-data.sh");
const CRON: &str = include_str!("howto/cron.sh");
const REGION: &str = "us-west-2";
const SOON: Duration = Duration::from_mins(1);
/// What has a rotator keep the plain parameter too.
const COMPAT: [&str; 4] = ["--compat", "2019", "--region", REGION];

fn begin() -> Result<(&'static Testbed, Tool, Credential)> {
    let testbed = joinable_testbed()?;
    Ok((testbed, Tool::of(testbed), Credential::of(testbed, "demo")))
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A machine of 2019: the tools of its image, and the AWS command line.
fn machine(testbed: &'static Testbed, name: &str, host: &str) -> Result<Machine> {
    let instance = Instance {
        id: "i-0123456789abcdef0".to_owned(),
        zone: format!("{REGION}a"),
        host_name: format!("{host}.{REGION}.compute.internal"),
        address: "10.0.0.19".to_owned(),
    };
    let mut machine = Machine::boot(
        testbed,
        name,
        &instance,
        Network::Configured,
        &testbed.moto_url(),
    )?;
    let zone = &instance.zone;
    machine.add_program(
        "ec2metadata",
        &format!("#!/bin/sh\nprintf 'ami-id: ami-1\\navailability-zone: {zone}\\n'\n"),
    )?;
    machine.add_program(
        "hostnamectl",
        "#!/bin/sh\n[ \"$1\" = set-hostname ] && exec hostname \"$2\"\n",
    )?;
    machine.add_program("sudo", "#!/bin/sh\nexec \"$@\"\n")?;
    machine.add_aws_cli()?;
    // The script writes it to /etc/default/kubelet, which the kubelet's unit reads, and a kubelet of
    // today ends at it: "built-in cloud providers are disabled". An image of 2019 had one that took
    // it; one that joins a current cluster has to drop it.
    machine.keep_from_kubelet("--cloud-provider=aws")?;
    // This host is no machine that kubeadm's checks would pass.
    machine.wrap_kubeadm("join) exec \"$real\" \"$@\" --ignore-preflight-errors=all ;;")?;
    // What the image's credentials are here.
    machine.set_env("AWS_ACCESS_KEY_ID", "test");
    machine.set_env("AWS_SECRET_ACCESS_KEY", "test");
    Ok(machine)
}

fn user_data(testbed: &Testbed) -> String {
    USER_DATA.replace("API_SERVER", &testbed.api_url().replace("https://", ""))
}

fn node_is_ready(testbed: &Testbed, host: &str) -> Result<()> {
    let nodes = Api::<Node>::all(testbed.cluster().client());
    let name = format!("{host}.{REGION}.compute.internal");
    wait_for("the node to turn ready", SOON, || {
        Ok(testbed
            .run(nodes.get_opt(&name))?
            .as_ref()
            .is_some_and(is_ready))
    })
}

fn plain(testbed: &Testbed) -> Result<String> {
    let parameter = Ssm::of(testbed)
        .in_region(REGION)
        .get("jointoken")?
        .context("the plain parameter")?;
    ensure!(parameter.kind == "String", "{}", parameter.kind);
    Ok(parameter.value)
}

#[test]
fn the_user_data_of_2019_joins_with_what_windlass_publishes() -> Result<()> {
    let (testbed, tool, credential) = begin()?;
    credential.rotate(&tool, &COMPAT)?.expect(0)?;
    let machine = machine(testbed, "of-2019", "ip-10-0-0-19")?;
    let output = machine.run_script(&user_data(testbed))?;
    ensure!(output.status.success(), "{}", text(&output));
    node_is_ready(testbed, "ip-10-0-0-19")?;
    machine.end();
    Ok(())
}

#[test]
fn the_cron_job_of_2019_and_windlass_do_not_disturb_each_other() -> Result<()> {
    let (testbed, tool, credential) = begin()?;
    credential.rotate(&tool, &COMPAT)?.expect(0)?;
    let ours = plain(testbed)?;
    let mut machine = machine(testbed, "cron", "ip-10-0-0-20")?;
    // In 2019 one role was the control plane's and the nodes'.
    machine.act_as(Actor::Rotator);
    let kubeconfig = testbed.kubeconfig(User::Admin).display().to_string();
    machine.set_env("KUBECONFIG", &kubeconfig);
    let output = machine.run_script(CRON)?;
    ensure!(output.status.success(), "{}", text(&output));
    let by_cron = plain(testbed)?;
    ensure!(by_cron != ours, "the job has written nothing");
    // A node that reads the job's token joins with it.
    let output = machine.run_script(&user_data(testbed))?;
    ensure!(output.status.success(), "{}", text(&output));
    node_is_ready(testbed, "ip-10-0-0-20")?;

    // Windlass puts its own back and leaves the job's token alone until it expires.
    credential.rotate(&tool, &COMPAT)?.expect(0)?;
    ensure!(
        plain(testbed)? == ours,
        "the plain parameter was not mended"
    );
    let listed = tool.run(&["token", "list"])?.expect(0)?.stdout;
    ensure!(
        listed.contains(&by_cron[..6]),
        "the job's token is gone: {listed}"
    );
    ensure!(listed.contains(&ours[..6]), "{listed}");
    let again = machine.run_script(CRON)?;
    ensure!(again.status.success(), "{}", text(&again));
    machine.end();
    Ok(())
}
