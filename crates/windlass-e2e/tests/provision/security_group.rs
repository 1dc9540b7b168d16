//! The nodes' own security group: made, mended rule by rule, and deleted once nothing has it; what
//! others have put into it stays.

use anyhow::{Context as _, Result, ensure};
use windlass_e2e::{account, check_same, expect, values};
use windlass_testbed::Testbed;
use windlass_testbed::proxy::{Act, Matcher};

use crate::scene::{
    ALL, AUTOSCALING, EC2, MADE, WEB, cluster_file_with, run, run_through, security_group, subnets,
};

/// With the rules that are usual.
const USUAL: &str = "  nodeSecurityGroup: {}\n";

fn describe(testbed: &Testbed, id: &str) -> Result<String> {
    let group = [("GroupId.1", id)];
    testbed.aws().query(EC2, "DescribeSecurityGroups", &group)
}

/// Whatever new instances are launched from names exactly this group besides the file's.
fn check_launched_with(testbed: &Testbed, id: &str) -> Result<()> {
    let aws = testbed.aws();
    let newest = [
        ("LaunchTemplateName", "prod-web"),
        ("LaunchTemplateVersion.1", "$Latest"),
    ];
    let template = aws.query(EC2, "DescribeLaunchTemplateVersions", &newest)?;
    ensure!(
        template.contains(&format!("<item>{id}</item>")),
        "{template}"
    );
    let groups = aws.query(AUTOSCALING, "DescribeAutoScalingGroups", &[])?;
    let name = values(&groups, "LaunchConfigurationName").remove(0);
    let names = [("LaunchConfigurationNames.member.1", name.as_str())];
    let xml = aws.query(AUTOSCALING, "DescribeLaunchConfigurations", &names)?;
    ensure!(xml.contains(&format!("<member>{id}</member>")), "{xml}");
    Ok(())
}

#[test]
fn the_usual_rules_let_the_machines_of_the_cluster_in() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file_with(testbed, USUAL, ALL)?;
    let before = account(testbed)?;
    let plan = expect(
        &run(testbed, &["plan"])?,
        2,
        "+ security group `prod-windlass-nodes`",
    )?;
    for part in [
        "ingress[all from self]: windlass: the nodes among themselves",
        "ingress[all from sg-",
        "prod-windlass-nodes, sg-",
    ] {
        ensure!(plan.contains(part), "no `{part}` in {plan}");
    }
    let text = expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    let at = |part: &str| {
        text.find(part)
            .with_context(|| format!("no `{part}` in {text}"))
    };
    let made = at("created security group")?;
    ensure!(made < at("created launch template")? && made < at("created launch configuration")?);
    expect(&run(testbed, &["apply", "--yes"])?, 0, "No changes")?;
    let id = security_group(testbed)?;
    check_launched_with(testbed, &id)?;
    let group = describe(testbed, &id)?;
    for part in [
        "<key>windlass.dev/cluster</key>",
        "<key>windlass.dev/security-group</key>",
        "<key>team</key>",
        // What AWS itself lets out.
        "<ipPermissionsEgress><item><ipProtocol>-1</ipProtocol>",
    ] {
        let bare: String = group.split_whitespace().collect();
        ensure!(bare.contains(part), "no `{part}` in {group}");
    }
    let text = expect(&run(testbed, &["destroy", "--yes"])?, 0, "Done.")?;
    let at = |part: &str| {
        text.find(part)
            .with_context(|| format!("no `{part}` in {text}"))
    };
    let gone = at("deleted security group")?;
    ensure!(at("deleted launch template")? < gone && at("deleted launch configuration")? < gone);
    check_same(&account(testbed)?, &before).context("something is left")
}

/// It is shown, by `drift` with an exit code, and stays, also once the file has had the same rule.
#[test]
fn a_rule_of_somebody_else_is_shown_and_stays() -> Result<()> {
    const RULE: &str = "ingress[tcp 22 from 10.1.0.0/16]: for now";
    let testbed = windlass_e2e::testbed()?;
    cluster_file_with(testbed, MADE, ALL)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    let id = security_group(testbed)?;
    let rule = [
        ("GroupId", id.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "22"),
        ("IpPermissions.1.ToPort", "22"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "10.1.0.0/16"),
        ("IpPermissions.1.IpRanges.1.Description", "for now"),
    ];
    let aws = testbed.aws();
    aws.query(EC2, "AuthorizeSecurityGroupIngress", &rule)?;
    let with_it = account(testbed)?;
    let shown = expect(&run(testbed, &["drift"])?, 2, RULE)?;
    for part in [
        "= security group `prod-windlass-nodes`: somebody else has let more in, which stays",
        "revoke-security-group-ingress --group-id sg-",
        "No changes: cluster `prod` is as the file says, but for what others have added",
    ] {
        ensure!(shown.contains(part), "no `{part}` in {shown}");
    }
    expect(&run(testbed, &["plan"])?, 0, RULE)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "No changes")?;
    check_same(&account(testbed)?, &with_it)?;

    // Beside it the file's own rules are mended.
    let kubelets = MADE.replace("10250", "10255");
    cluster_file_with(testbed, &kubelets, ALL)?;
    let text = expect(&run(testbed, &["apply", "--yes"])?, 0, RULE)?;
    for part in [
        "ingress[tcp 10250 from 10.0.0.0/8]: windlass: kubelets → (none)",
        "ingress[tcp 10255 from 10.0.0.0/8]: (none) → windlass: kubelets",
        "changed security group",
    ] {
        ensure!(text.contains(part), "no `{part}` in {text}");
    }
    // The file's rule does not make it the file's, which would revoke it in the end.
    let same = format!("{MADE}    - {{ports: 22, from: [10.1.0.0/16]}}\n");
    cluster_file_with(testbed, &same, ALL)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    expect(&run(testbed, &["drift"])?, 0, "No changes")?;
    cluster_file_with(testbed, MADE, ALL)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "No changes")?;
    expect(&run(testbed, &["drift"])?, 2, RULE)?;
    Ok(())
}

/// It stays as long as something has it, and who has it is told how to find that out.
#[test]
fn a_group_that_the_file_asks_for_no_more_goes_once_nothing_has_it() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file_with(testbed, "", ALL)?;
    let before = account(testbed)?;
    cluster_file_with(testbed, USUAL, ALL)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    let id = security_group(testbed)?;
    cluster_file_with(testbed, "", ALL)?;
    let proxy = testbed.proxy_aws()?;
    let in_use = || Act::ec2_error(400, "DependencyViolation");
    proxy.on(Matcher::action("DeleteSecurityGroup"), in_use());
    let text = expect(
        &run_through(testbed, &proxy, &["apply", "--yes"])?,
        1,
        "security group `prod-windlass-nodes`",
    )?;
    for part in [
        format!("DeleteSecurityGroup of `{id}`: DependencyViolation"),
        format!("describe-network-interfaces --filters Name=group-id,Values={id}"),
        format!("Name=ip-permission.group-id,Values={id}"),
        "run the same command again".to_owned(),
    ] {
        ensure!(text.contains(&part), "no `{part}` in {text}");
    }
    expect(
        &run(testbed, &["plan"])?,
        2,
        "- security group `prod-windlass-nodes`",
    )?;
    expect(
        &run(testbed, &["apply", "--yes"])?,
        0,
        "deleted security group",
    )?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "No changes")?;

    // The network interfaces of ended instances go by themselves.
    cluster_file_with(testbed, USUAL, ALL)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    proxy.pass_all();
    proxy
        .on(Matcher::action("DeleteSecurityGroup"), in_use())
        .times(1);
    let destroyed = run_through(testbed, &proxy, &["destroy", "--yes"])?;
    expect(&destroyed, 0, "deleted security group")?;
    check_same(&account(testbed)?, &before).context("something is left")
}

/// One that was deleted by hand is made again, and whatever named it names the new one.
#[test]
fn a_group_that_was_deleted_is_made_again_for_all_that_named_it() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file_with(testbed, MADE, ALL)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    let first = security_group(testbed)?;
    let group = [("GroupId", first.as_str())];
    testbed.aws().query(EC2, "DeleteSecurityGroup", &group)?;
    expect(
        &run(testbed, &["apply", "--yes"])?,
        0,
        "created security group",
    )?;
    let second = security_group(testbed)?;
    ensure!(first != second);
    check_launched_with(testbed, &second)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "No changes")?;
    // Once more: the name of the launch configuration of the beginning is free again.
    let group = [("GroupId", second.as_str())];
    testbed.aws().query(EC2, "DeleteSecurityGroup", &group)?;
    expect(
        &run(testbed, &["apply", "--yes"])?,
        0,
        "created security group",
    )?;
    check_launched_with(testbed, &security_group(testbed)?)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "No changes")?;
    Ok(())
}

/// A name says nothing of whose a group is.
#[test]
fn a_namesake_is_never_touched() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file_with(testbed, MADE, WEB)?;
    let group = [
        ("GroupName", "prod-windlass-nodes"),
        ("GroupDescription", "somebody's"),
    ];
    testbed.aws().query(EC2, "CreateSecurityGroup", &group)?;
    let before = account(testbed)?;
    let text = expect(
        &run(testbed, &["apply", "--yes"])?,
        1,
        "need a decision first",
    )?;
    for part in [
        "! security group `prod-windlass-nodes`: exists and was not made by Windlass",
        "name it in spec.securityGroups",
    ] {
        ensure!(text.contains(part), "no `{part}` in {text}");
    }
    expect(&run(testbed, &["destroy", "--yes"])?, 0, "Done.")?;
    check_same(&account(testbed)?, &before)
}

#[test]
fn subnets_of_two_vpcs_have_no_group_in_common() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let aws = testbed.aws();
    let vpc = aws.query(EC2, "CreateVpc", &[("CidrBlock", "10.9.0.0/16")])?;
    let vpc = values(&vpc, "vpcId").remove(0);
    let subnet = [("VpcId", vpc.as_str()), ("CidrBlock", "10.9.1.0/24")];
    let subnet = aws.query(EC2, "CreateSubnet", &subnet)?;
    let other = values(&subnet, "subnetId").remove(0);
    let first = &subnets(testbed)?[0];
    let group = format!("  - {{name: web, min: 0, max: 3, subnets: [{first}, {other}]}}\n");
    cluster_file_with(testbed, USUAL, &group)?;
    let text = expect(
        &run(testbed, &["plan"])?,
        1,
        "the subnets are in several VPCs",
    )?;
    ensure!(text.contains(&format!("{other}: {vpc}")), "{text}");
    let gone = group.replace(&other, "subnet-0123456789abcdef0");
    cluster_file_with(testbed, USUAL, &gone)?;
    expect(
        &run(testbed, &["plan"])?,
        1,
        "there is no subnet `subnet-0123456789abcdef0`",
    )?;
    for (action, parameter, id) in [
        ("DeleteSubnet", "SubnetId", &other),
        ("DeleteVpc", "VpcId", &vpc),
    ] {
        aws.query(EC2, action, &[(parameter, id)])?;
    }
    Ok(())
}
