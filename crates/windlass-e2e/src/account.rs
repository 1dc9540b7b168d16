//! All that moto has of the kinds of resources that Windlass makes, whosever it is: for comparing the
//! whole before with the whole after, and what one way makes with what another does.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use windlass_testbed::Testbed;

use crate::{Ssm, values};

/// Elements whose contents AWS draws by lot or takes from the clock.
const DRAWN: [&str; 13] = [
    "RequestId",
    "requestId",
    "CreateDate",
    "CreatedTime",
    "createTime",
    "RoleId",
    "RoleLastUsed",
    "InstanceProfileId",
    "LaunchTemplateId",
    "launchTemplateId",
    "AutoScalingGroupARN",
    "ResponseMetadata",
    // moto does not give addresses back.
    "availableIpAddressCount",
];

/// Listings of IAM, and the elements of their names.
const NAMES: [(&str, &str); 5] = [
    ("ListGroups", "GroupName"),
    ("ListInstanceProfiles", "InstanceProfileName"),
    ("ListPolicies", "PolicyName"),
    ("ListRoles", "RoleName"),
    ("ListUsers", "UserName"),
];

/// Volumes but those that moto forgets: beside a root volume that a template names it makes another on
/// the same device, plain, which outlives its instance.
pub const ENCRYPTED: [(&str, &str); 2] =
    [("Filter.1.Name", "encrypted"), ("Filter.1.Value.1", "true")];

/// What there is, by where it is listed.
pub type Account = BTreeMap<String, String>;

/// Lists all of it.
pub fn account(testbed: &Testbed) -> Result<Account> {
    let mut found = Account::new();
    let aws = testbed.aws();
    let mut list = |service: &str, action: &str, parameters: &[(&str, &str)]| -> Result<String> {
        let xml = aws.query(service, action, parameters)?;
        let about: Vec<&str> = parameters.iter().map(|(_, value)| *value).collect();
        let key = format!("{service} {action} {}", about.join(" "));
        // moto lists IAM's things by ids that it draws: their names are enough, for each is looked at
        // by itself.
        let name = NAMES.iter().find(|(listing, _)| *listing == action);
        let said = name.map_or_else(
            || without_drawn(&xml),
            |(_, element)| {
                let mut names = values(&xml, element);
                names.sort();
                names.join(" ")
            },
        );
        found.insert(key.trim_end().to_owned(), said);
        Ok(xml)
    };
    let groups = list("autoscaling", "DescribeAutoScalingGroups", &[])?;
    for name in values(&groups, "AutoScalingGroupName") {
        let group = [("AutoScalingGroupName", name.as_str())];
        list("autoscaling", "DescribeLifecycleHooks", &group)?;
    }
    for action in [
        "DescribeLaunchConfigurations",
        "DescribePolicies",
        "DescribeScheduledActions",
        "DescribeTags",
    ] {
        list("autoscaling", action, &[])?;
    }
    let templates = list("ec2", "DescribeLaunchTemplates", &[])?;
    for name in values(&templates, "launchTemplateName") {
        let template = [("LaunchTemplateName", name.as_str())];
        list("ec2", "DescribeLaunchTemplateVersions", &template)?;
    }
    for action in [
        "DescribeKeyPairs",
        "DescribeSecurityGroups",
        "DescribeSubnets",
        "DescribeVpcs",
    ] {
        list("ec2", action, &[])?;
    }
    list("ec2", "DescribeVolumes", &ENCRYPTED)?;
    // Those that were ended are listed for ever.
    let running = [
        ("Filter.1.Name", "instance-state-name"),
        ("Filter.1.Value.1", "running"),
    ];
    list("ec2", "DescribeInstances", &running)?;
    let roles = list("iam", "ListRoles", &[])?;
    for name in values(&roles, "RoleName") {
        let role = [("RoleName", name.as_str())];
        list("iam", "GetRole", &role)?;
        list("iam", "ListAttachedRolePolicies", &role)?;
        let policies = list("iam", "ListRolePolicies", &role)?;
        for policy in values(&policies, "member") {
            list(
                "iam",
                "GetRolePolicy",
                &[("RoleName", &name), ("PolicyName", &policy)],
            )?;
        }
    }
    let profiles = list("iam", "ListInstanceProfiles", &[])?;
    for name in values(&profiles, "InstanceProfileName") {
        list(
            "iam",
            "GetInstanceProfile",
            &[("InstanceProfileName", &name)],
        )?;
    }
    for action in ["ListPolicies", "ListUsers", "ListGroups"] {
        let own: &[(&str, &str)] = if action == "ListPolicies" {
            &[("Scope", "Local")]
        } else {
            &[]
        };
        list("iam", action, own)?;
    }
    found.insert("ssm parameters".to_owned(), parameters(testbed)?);
    found.insert("kms keys".to_owned(), keys(testbed)?);
    name_security_groups(testbed, &mut found)?;
    Ok(found)
}

/// Security groups get other ids each time: what names one says its name instead.
fn name_security_groups(testbed: &Testbed, account: &mut Account) -> Result<()> {
    let xml = testbed.aws().query("ec2", "DescribeSecurityGroups", &[])?;
    // Those within are whom a rule lets in.
    let listed = without(&xml, &["groups"]);
    let (ids, names) = (values(&listed, "groupId"), values(&listed, "groupName"));
    ensure!(ids.len() == names.len(), "{listed}");
    for text in account.values_mut() {
        for (id, name) in ids.iter().zip(&names) {
            *text = text.replace(id, &format!("security group {name}"));
        }
        *text = in_order(text, "securityGroupIdSet");
    }
    Ok(())
}

/// A text with the items of an element's list in one order.
fn in_order(xml: &str, element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let mut parts = xml.split(&open);
    let head = parts.next().unwrap_or_default().to_owned();
    let lists = parts.map(|part| {
        let (list, rest) = part.split_once(&close).unwrap_or((part, ""));
        let mut items: Vec<&str> = list.split("<item>").map(str::trim).collect();
        items.sort_unstable();
        format!("{open}{}{close}{rest}", items.join("<item>"))
    });
    [head].into_iter().chain(lists).collect()
}

/// Fails where two accounts differ, and says where.
pub fn check_same(found: &Account, expected: &Account) -> Result<()> {
    let names: std::collections::BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let differences: Vec<String> = names
        .into_iter()
        .filter(|name| found.get(*name) != expected.get(*name))
        .map(|name| {
            format!(
                "{name}:\n  found    {:?}\n  expected {:?}",
                found.get(name),
                expected.get(name)
            )
        })
        .collect();
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

/// An answer without what is another one each time.
fn without_drawn(xml: &str) -> String {
    let text = without(xml, &DRAWN);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The same account without its instances, which have other ids and addresses each time.
pub fn without_instances(account: &Account) -> Account {
    account
        .iter()
        .filter(|(name, _)| {
            !name.starts_with("ec2 DescribeInstances") && !name.starts_with("ec2 DescribeVolumes")
        })
        .map(|(name, text)| (name.clone(), without(text, &["Instances"])))
        .collect()
}

/// A text without these elements.
fn without(xml: &str, elements: &[&str]) -> String {
    let mut text = xml.to_owned();
    for element in elements {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        while let Some(start) = text.find(&open) {
            let Some(length) = text[start..].find(&close) else {
                break;
            };
            text.replace_range(start..start + length + close.len(), "");
        }
    }
    text
}

/// All parameters with their values, but for their times.
fn parameters(testbed: &Testbed) -> Result<String> {
    let ssm = Ssm::of(testbed);
    let input = json!({ "MaxResults": 50 });
    let answer = ssm.ask("ssm", "AmazonSSM.DescribeParameters", &input)?;
    ensure!(answer["NextToken"].is_null(), "more than 50 parameters");
    let mut all = Vec::new();
    for mut parameter in list_of(&answer["Parameters"]) {
        let name = parameter["Name"].as_str().unwrap_or_default().to_owned();
        let value = ssm.get(&name)?.map(|it| it.value);
        let tags = ssm.ask(
            "ssm",
            "AmazonSSM.ListTagsForResource",
            &json!({ "ResourceType": "Parameter", "ResourceId": name }),
        )?;
        parameter["LastModifiedDate"] = Value::Null;
        all.push(format!("{parameter} {value:?} {}", tags["TagList"]));
    }
    all.sort();
    Ok(all.join("\n"))
}

/// All keys that are not about to be deleted, with their names, policies and tags.
fn keys(testbed: &Testbed) -> Result<String> {
    let ssm = Ssm::of(testbed);
    let ask =
        |action: &str, input: Value| ssm.ask("kms", &format!("TrentService.{action}"), &input);
    let mut all = Vec::new();
    for key in list_of(&ask("ListKeys", json!({}))?["Keys"]) {
        let of_key = || json!({ "KeyId": key["KeyId"], "PolicyName": "default" });
        let mut about = ask("DescribeKey", of_key())?["KeyMetadata"].take();
        if about["KeyState"] == "PendingDeletion" {
            continue;
        }
        for drawn in ["Arn", "KeyId", "CreationDate"] {
            about[drawn] = Value::Null;
        }
        let policy = ask("GetKeyPolicy", of_key())?;
        let rotation = ask("GetKeyRotationStatus", of_key())?;
        let tags = ask("ListResourceTags", of_key())?;
        let aliases = ask("ListAliases", json!({ "KeyId": key["KeyId"] }))?;
        let names: Vec<Value> = list_of(&aliases["Aliases"])
            .into_iter()
            .map(|alias| alias["AliasName"].clone())
            .collect();
        // AWS's own come with the first use.
        let is_of_aws = |name: &Value| name.as_str().is_some_and(|it| it.starts_with("alias/aws/"));
        if names.iter().any(is_of_aws) {
            continue;
        }
        all.push(format!(
            "{about} {} {} {} {names:?}",
            policy["Policy"], rotation["KeyRotationEnabled"], tags["Tags"]
        ));
    }
    all.sort();
    Ok(all.join("\n"))
}

fn list_of(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}
