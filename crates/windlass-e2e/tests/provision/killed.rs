//! A run that is killed at any call of AWS is finished by the next: nothing is made twice, nothing
//! foreign is touched, nothing is left.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use windlass_e2e::{Ssm, account, check_same, expect, nth_call, was_held};
use windlass_testbed::proxy::Hold;
use windlass_testbed::{Group, Testbed};

use crate::howto::make_as_the_how_to_does;
use crate::scene::{ALL, MADE, SOON, cluster_file_with, command, run};

/// Every kind of resource, key and security group included.
fn cluster(testbed: &Testbed) -> Result<()> {
    cluster_file_with(testbed, MADE, ALL).map(drop)
}

/// What others have: the how-to's cluster, and another one.
fn foreign_resources(testbed: &Testbed) -> Result<()> {
    make_as_the_how_to_does(testbed)?;
    let group = Group::new("staging-web").sizes(0, 9, 0);
    testbed.aws().create_group(&group)
}

/// AWS forgets a key after its thirty days; here that is now, or each run would look at those of all
/// runs before it.
fn forget_deleted_keys(testbed: &Testbed) -> Result<()> {
    let ssm = Ssm::of(testbed);
    let ask =
        |action: &str, input: &Value| ssm.ask("kms", &format!("TrentService.{action}"), input);
    let keys = ask("ListKeys", &json!({}))?;
    for key in keys["Keys"].as_array().context("a list of keys")? {
        let of_key = json!({ "KeyId": key["KeyId"], "TagKeys": ["windlass.dev/cluster"] });
        let about = ask("DescribeKey", &of_key)?;
        if about["KeyMetadata"]["KeyState"] == "PendingDeletion" {
            ask("UntagResource", &of_key)?;
        }
    }
    Ok(())
}

const DESTROY: [&str; 3] = ["destroy", "--yes", "--schedule-key-deletion"];

#[test]
fn an_apply_that_is_killed_at_any_call_is_finished_by_the_next() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster(testbed)?;
    foreign_resources(testbed)?;
    let before = account(testbed)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    let complete = account(testbed)?;
    let calls = killed_at_each_call(
        testbed,
        &["apply", "--yes"],
        || {
            expect(&run(testbed, &DESTROY)?, 0, "")?;
            forget_deleted_keys(testbed)?;
            check_same(&account(testbed)?, &before).context("something is left")
        },
        || {
            expect(&run(testbed, &["apply", "--yes"])?, 0, "")?;
            expect(&run(testbed, &["apply", "--yes"])?, 0, "No changes")?;
            check_same(&account(testbed)?, &complete)
        },
    )?;
    // The lock, what is there, and a call at least for each of the nine resources.
    ensure!(calls > 30, "{calls} calls");
    eprintln!("killed at each of {calls} calls of apply");
    Ok(())
}

#[test]
fn a_destroy_that_is_killed_at_any_call_is_finished_by_the_next() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster(testbed)?;
    foreign_resources(testbed)?;
    let before = account(testbed)?;
    let calls = killed_at_each_call(
        testbed,
        &DESTROY,
        || expect(&run(testbed, &["apply", "--yes"])?, 0, "").map(drop),
        || {
            expect(&run(testbed, &DESTROY)?, 0, "")?;
            check_same(&account(testbed)?, &before)
        },
    )?;
    ensure!(calls > 20, "{calls} calls");
    eprintln!("killed at each of {calls} calls of destroy");
    Ok(())
}

#[test]
fn what_a_group_has_left_behind_is_still_found_and_destroyed() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file_with(testbed, "", ALL)?;
    let empty = account(testbed)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    // A destroy that ended once the groups were gone, and a file without them.
    for name in ["prod-web", "prod-old"] {
        testbed.aws().delete_group(name)?;
    }
    cluster_file_with(testbed, "", "    []\n")?;
    let shown = expect(&run(testbed, &["plan"])?, 2, "launch template `prod-web`")?;
    ensure!(shown.contains("is not in the file any more"), "{shown}");
    let one = run(testbed, &["destroy", "--group=web", "--yes"])?;
    expect(&one, 0, "deleted launch template `prod-web`")?;
    let rest = run(testbed, &["destroy", "--yes"])?;
    expect(&rest, 0, "deleted launch configuration `prod-old-")?;
    check_same(&account(testbed)?, &empty)
}

/// Runs a command again and again, killing it once AWS has carried its first, its second, … call
/// out and has not answered yet; gives the number of calls. Being killed before a call is sent is
/// being killed after the one before.
fn killed_at_each_call(
    testbed: &'static Testbed,
    arguments: &[&str],
    prepare: impl Fn() -> Result<()>,
    check: impl Fn() -> Result<()>,
) -> Result<usize> {
    for call in 0..100 {
        prepare()?;
        let proxy = testbed.proxy_aws()?;
        let held = proxy.hold(nth_call(call, |_| true), Hold::BeforeAnswering);
        let mut child = command(testbed, proxy.url(), arguments)?
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start windlass")?;
        if was_held(&held, &mut child, SOON)? {
            child.kill().context("kill windlass")?;
            child.wait().context("wait for windlass")?;
            held.refuse();
            check().with_context(|| format!("killed after call {call}"))?;
        } else {
            ensure!(call > 0, "it made no call");
            check().context("not killed at all")?;
            return Ok(call);
        }
    }
    bail!("it never came to its end")
}
