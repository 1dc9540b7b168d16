//! Security groups and what they let in.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use super::images::{with_tags, write};
use super::template_content::tag_map;
use super::{Ec2, VERSION, read};
use crate::endpoint::Service;
use crate::error::CallError;
use crate::query::{Done, Query, filled, items};
use crate::retry::Repeat;

/// EC2's word for every protocol.
const ALL_PROTOCOLS: &str = "-1";

/// A security group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityGroup {
    /// Its id.
    #[serde(rename = "groupId")]
    pub id: String,
    /// Its name, which only within its VPC is nobody else's.
    #[serde(rename = "groupName")]
    pub name: String,
    /// Its VPC.
    pub vpc_id: String,
    /// Its tags.
    #[serde(rename = "tagSet", deserialize_with = "tag_map")]
    pub tags: BTreeMap<String, String>,
    #[serde(rename = "ipPermissions", deserialize_with = "items")]
    permissions: Vec<Permission>,
}

/// One thing that a security group lets in: EC2 knows a rule by these, and has each once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IngressRule {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, the number of another protocol, or `-1` for all.
    pub protocol: String,
    /// First and last port; of ICMP its type and code, -1 for any. None for protocols without.
    pub ports: Option<(i32, i32)>,
    /// Whom it lets in.
    pub source: RuleSource,
}

/// Whom a rule lets in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleSource {
    /// Addresses, as `10.0.0.0/8`.
    Ipv4(String),
    /// Addresses, as `fd00::/8`.
    Ipv6(String),
    /// Whoever has this security group, by its id.
    Group(String),
    /// The addresses of a prefix list, by its id.
    PrefixList(String),
}

impl fmt::Display for RuleSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Ipv4(text) | Self::Ipv6(text) | Self::Group(text) | Self::PrefixList(text)) =
            self;
        formatter.write_str(text)
    }
}

impl fmt::Display for IngressRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            protocol,
            ports,
            source,
        } = self;
        match protocol.as_str() {
            ALL_PROTOCOLS => formatter.write_str("all")?,
            protocol => formatter.write_str(protocol)?,
        }
        match ports {
            None | Some((-1, -1)) => {}
            Some((first, last)) if first == last => write!(formatter, " {first}")?,
            Some((first, last)) => write!(formatter, " {first}-{last}")?,
        }
        write!(formatter, " from {source}")
    }
}

impl Serialize for IngressRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl SecurityGroup {
    /// What it lets in, with the rules' descriptions.
    pub fn ingress(&self) -> BTreeMap<IngressRule, String> {
        self.permissions
            .iter()
            .flat_map(Permission::rules)
            .collect()
    }
}

/// Rules of one protocol and its ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Permission {
    ip_protocol: String,
    from_port: Option<i32>,
    to_port: Option<i32>,
    #[serde(deserialize_with = "items")]
    ip_ranges: Vec<Source>,
    #[serde(deserialize_with = "items")]
    ipv6_ranges: Vec<Source>,
    #[serde(deserialize_with = "items")]
    groups: Vec<Source>,
    #[serde(deserialize_with = "items")]
    prefix_list_ids: Vec<Source>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Source {
    #[serde(
        alias = "cidrIp",
        alias = "cidrIpv6",
        alias = "groupId",
        alias = "prefixListId"
    )]
    source: String,
    #[serde(deserialize_with = "filled")]
    description: Option<String>,
}

impl Permission {
    fn rules(&self) -> Vec<(IngressRule, String)> {
        let ports = self.from_port.zip(self.to_port);
        let ports = ports.filter(|_| self.ip_protocol != ALL_PROTOCOLS);
        let of =
            |sources: &[Source], kind: fn(String) -> RuleSource| -> Vec<(IngressRule, String)> {
                let rule = |source: &Source| IngressRule {
                    protocol: self.ip_protocol.clone(),
                    ports,
                    source: kind(source.source.clone()),
                };
                sources
                    .iter()
                    .map(|source| (rule(source), source.description.clone().unwrap_or_default()))
                    .collect()
            };
        [
            of(&self.ip_ranges, RuleSource::Ipv4),
            of(&self.ipv6_ranges, RuleSource::Ipv6),
            of(&self.groups, RuleSource::Group),
            of(&self.prefix_list_ids, RuleSource::PrefixList),
        ]
        .concat()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WithGroupId {
    group_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupsPage {
    #[serde(default, deserialize_with = "items")]
    security_group_info: Vec<SecurityGroup>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubnetsPage {
    #[serde(default, deserialize_with = "items")]
    subnet_set: Vec<Subnet>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subnet {
    #[serde(rename = "subnetId")]
    id: String,
    vpc_id: String,
}

impl Ec2<'_> {
    /// The VPCs of subnets, by the subnets' ids; one that is not there is left out.
    ///
    /// IAM: `ec2:DescribeSubnets`.
    pub async fn vpcs_of_subnets(
        &self,
        subnets: impl IntoIterator<Item = &str>,
    ) -> Result<BTreeMap<String, String>, CallError> {
        let query = read("DescribeSubnets")
            .about("the subnets of the nodes")
            .with("Filter.1.Name", "subnet-id")
            .with_list("Filter.1.Value", subnets);
        let page = self
            .client
            .observed("DescribeSubnets", query.send::<SubnetsPage>(self.client))
            .await?;
        let subnets = page.subnet_set.into_iter();
        Ok(subnets.map(|subnet| (subnet.id, subnet.vpc_id)).collect())
    }

    /// Creates a security group, which lets nothing in and everything out, and gives its id.
    ///
    /// IAM: `ec2:CreateSecurityGroup`, `ec2:CreateTags`.
    pub async fn create_security_group(
        &self,
        name: &str,
        description: &str,
        vpc: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<String, CallError> {
        let query = write("CreateSecurityGroup", name)
            .with("GroupName", name)
            .with("GroupDescription", description)
            .with("VpcId", vpc);
        let query = with_tags(query, &["security-group"], tags);
        let created: WithGroupId = self
            .client
            .observed("CreateSecurityGroup", query.send(self.client))
            .await?;
        Ok(created.group_id)
    }

    /// The security groups for which a filter such as `tag-key` has this value.
    ///
    /// IAM: `ec2:DescribeSecurityGroups`.
    pub async fn security_groups(
        &self,
        filter: &str,
        value: &str,
    ) -> Result<Vec<SecurityGroup>, CallError> {
        self.security_groups_with(value, &[(filter, &[value])])
            .await
    }

    /// The security groups that pass all these filters, each by one of its values; errors name
    /// what the look is `about`.
    ///
    /// IAM: `ec2:DescribeSecurityGroups`.
    pub async fn security_groups_with(
        &self,
        about: &str,
        filters: &[(&str, &[&str])],
    ) -> Result<Vec<SecurityGroup>, CallError> {
        let mut query = read("DescribeSecurityGroups").about(about);
        for (number, (name, values)) in (1..).zip(filters) {
            query = query
                .with(format!("Filter.{number}.Name"), *name)
                .with_list(&format!("Filter.{number}.Value"), *values);
        }
        let page: GroupsPage = self
            .client
            .observed("DescribeSecurityGroups", query.send(self.client))
            .await?;
        Ok(page.security_group_info)
    }

    /// Has a security group let something in; that it does already is no error.
    ///
    /// IAM: `ec2:AuthorizeSecurityGroupIngress`.
    pub async fn authorize_ingress(
        &self,
        id: &str,
        rule: &IngressRule,
        description: &str,
    ) -> Result<(), CallError> {
        let action = "AuthorizeSecurityGroupIngress";
        match self.on_rule(action, id, rule, description).await {
            Err(error) if error.code() == Some("InvalidPermission.Duplicate") => Ok(()),
            result => result,
        }
    }

    /// Has a security group let something in no more; that it does not is no error.
    ///
    /// IAM: `ec2:RevokeSecurityGroupIngress`.
    pub async fn revoke_ingress(
        &self,
        id: &str,
        rule: &IngressRule,
        description: &str,
    ) -> Result<(), CallError> {
        let action = "RevokeSecurityGroupIngress";
        match self.on_rule(action, id, rule, description).await {
            Err(error) if error.code() == Some("InvalidPermission.NotFound") => Ok(()),
            result => result,
        }
    }

    /// Describes a rule of a security group otherwise.
    ///
    /// IAM: `ec2:UpdateSecurityGroupRuleDescriptionsIngress`.
    pub async fn describe_ingress(
        &self,
        id: &str,
        rule: &IngressRule,
        description: &str,
    ) -> Result<(), CallError> {
        let action = "UpdateSecurityGroupRuleDescriptionsIngress";
        self.on_rule(action, id, rule, description).await
    }

    async fn on_rule(
        &self,
        action: &'static str,
        id: &str,
        rule: &IngressRule,
        description: &str,
    ) -> Result<(), CallError> {
        let prefix = "IpPermissions.1";
        let (list, field) = match rule.source {
            RuleSource::Ipv4(_) => ("IpRanges", "CidrIp"),
            RuleSource::Ipv6(_) => ("Ipv6Ranges", "CidrIpv6"),
            RuleSource::Group(_) => ("Groups", "GroupId"),
            RuleSource::PrefixList(_) => ("PrefixListIds", "PrefixListId"),
        };
        let source = format!("{prefix}.{list}.1");
        let query = Query::write(Service::Ec2, VERSION, action, Repeat::Safe)
            .about(format!("{id}: {rule}"))
            .with("GroupId", id)
            .with(format!("{prefix}.IpProtocol"), &rule.protocol)
            .with_some(&format!("{prefix}.FromPort"), rule.ports.map(|it| it.0))
            .with_some(&format!("{prefix}.ToPort"), rule.ports.map(|it| it.1))
            .with(format!("{source}.{field}"), &rule.source)
            .with(format!("{source}.Description"), description);
        let _: Done = self
            .client
            .observed(action, query.send(self.client))
            .await?;
        Ok(())
    }

    /// Deletes a security group; that there is none is no error.
    ///
    /// IAM: `ec2:DeleteSecurityGroup`.
    pub async fn delete_security_group(&self, id: &str) -> Result<(), CallError> {
        self.gone("DeleteSecurityGroup", id, "GroupId").await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_read_rule_by_rule() {
        let xml = "<DescribeSecurityGroupsResponse><securityGroupInfo><item><groupId>sg-1</groupId>\
            <groupName>nodes</groupName><vpcId>vpc-1</vpcId><ipPermissions>\
            <item><ipProtocol>tcp</ipProtocol><fromPort>10250</fromPort><toPort>10250</toPort>\
            <groups><item><userId>1</userId><groupId>sg-2</groupId></item></groups>\
            <ipRanges><item><cidrIp>10.0.0.0/8</cidrIp><description>d</description></item>\
            <item><cidrIp>10.1.0.0/16</cidrIp></item></ipRanges><ipv6Ranges/><prefixListIds/></item>\
            <item><ipProtocol>-1</ipProtocol><groups><item><groupId>sg-1</groupId></item></groups>\
            <ipRanges/><ipv6Ranges><item><cidrIpv6>fd00::/8</cidrIpv6></item></ipv6Ranges>\
            <prefixListIds><item><prefixListId>pl-1</prefixListId></item></prefixListIds></item>\
            <item><ipProtocol>udp</ipProtocol><fromPort>1</fromPort><toPort>9</toPort><groups/>\
            <ipRanges><item><cidrIp>10.0.0.0/8</cidrIp></item></ipRanges></item>\
            </ipPermissions><tagSet><item><key>a</key><value>b</value></item></tagSet></item>\
            </securityGroupInfo></DescribeSecurityGroupsResponse>";
        let page: GroupsPage = quick_xml::de::from_str(xml).unwrap();
        let group = &page.security_group_info[0];
        assert_eq!((&*group.name, &*group.vpc_id), ("nodes", "vpc-1"));
        assert_eq!(group.tags["a"], "b");
        let rules: Vec<String> = group
            .ingress()
            .into_iter()
            .map(|(rule, description)| format!("{rule} {description}"))
            .collect();
        assert_eq!(
            rules,
            [
                "all from fd00::/8 ",
                "all from sg-1 ",
                "all from pl-1 ",
                "tcp 10250 from 10.0.0.0/8 d",
                "tcp 10250 from 10.1.0.0/16 ",
                "tcp 10250 from sg-2 ",
                "udp 1-9 from 10.0.0.0/8 ",
            ]
        );
    }
}
