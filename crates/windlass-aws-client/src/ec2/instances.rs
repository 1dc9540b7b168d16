//! Instances: who they are on the network, and whether they run.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Deserialize;

use super::template_content::tag_map;
use super::{Ec2, read};
use crate::error::CallError;
use crate::query::{filled, items};

/// An instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Instance {
    /// Its id.
    #[serde(rename = "instanceId")]
    pub id: String,
    #[serde(rename = "instanceState")]
    state: State,
    /// The image that it was launched from.
    pub image_id: String,
    /// Its tags.
    #[serde(rename = "tagSet", deserialize_with = "tag_map")]
    pub tags: BTreeMap<String, String>,
    /// When it was launched, or last started.
    pub launch_time: Option<Timestamp>,
    #[serde(deserialize_with = "filled")]
    private_dns_name: Option<String>,
    /// The public name, which EC2 calls by the older word.
    #[serde(rename = "dnsName", deserialize_with = "filled")]
    public_dns_name: Option<String>,
    #[serde(deserialize_with = "filled")]
    private_ip_address: Option<String>,
    /// The public address, likewise.
    #[serde(rename = "ipAddress", deserialize_with = "filled")]
    public_ip_address: Option<String>,
    #[serde(rename = "networkInterfaceSet", deserialize_with = "items")]
    interfaces: Vec<Interface>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct State {
    name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Interface {
    #[serde(deserialize_with = "filled")]
    private_dns_name: Option<String>,
    #[serde(rename = "privateIpAddressesSet", deserialize_with = "items")]
    private_addresses: Vec<InterfaceAddress>,
    #[serde(rename = "ipv6AddressesSet", deserialize_with = "items")]
    ipv6_addresses: Vec<Ipv6Address>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct InterfaceAddress {
    #[serde(deserialize_with = "filled")]
    private_ip_address: Option<String>,
    #[serde(deserialize_with = "filled")]
    private_dns_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ipv6Address {
    #[serde(deserialize_with = "filled")]
    ipv6_address: Option<String>,
}

impl Instance {
    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.state.name == "running"
    }

    /// `pending`, `running`, `stopping`, `stopped`, `shutting-down` or `terminated`.
    pub fn state(&self) -> &str {
        &self.state.name
    }

    /// All its DNS names, private and public.
    pub fn dns_names(&self) -> Vec<String> {
        let mut names: Vec<String> = [&self.private_dns_name, &self.public_dns_name]
            .into_iter()
            .chain(self.interfaces.iter().map(|it| &it.private_dns_name))
            .chain(self.all_addresses().map(|it| &it.private_dns_name))
            .flatten()
            .cloned()
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// All its addresses, private and public.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let ipv6 = self.interfaces.iter().flat_map(|it| &it.ipv6_addresses);
        let mut addresses: Vec<IpAddr> = [&self.private_ip_address, &self.public_ip_address]
            .into_iter()
            .chain(self.all_addresses().map(|it| &it.private_ip_address))
            .chain(ipv6.map(|it| &it.ipv6_address))
            .flatten()
            .filter_map(|text| text.parse().ok())
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    fn all_addresses(&self) -> impl Iterator<Item = &InterfaceAddress> {
        self.interfaces.iter().flat_map(|it| &it.private_addresses)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default, deserialize_with = "items")]
    reservation_set: Vec<Reservation>,
    #[serde(default, deserialize_with = "filled")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reservation {
    #[serde(default, deserialize_with = "items")]
    instances_set: Vec<Instance>,
}

impl Ec2<'_> {
    /// The instances, in whatever state, for which a filter such as `private-dns-name` or
    /// `instance-id` has this value.
    ///
    /// IAM: `ec2:DescribeInstances`.
    pub async fn describe_instances(
        &self,
        filter: &str,
        value: &str,
    ) -> Result<Vec<Instance>, CallError> {
        self.client
            .observed("DescribeInstances", async {
                let mut instances = Vec::new();
                let mut token: Option<String> = None;
                loop {
                    let page: Page = read("DescribeInstances")
                        .about(value)
                        .with("Filter.1.Name", filter)
                        .with("Filter.1.Value.1", value)
                        .with_some("NextToken", token.as_ref())
                        .send(self.client)
                        .await?;
                    let found = page.reservation_set.into_iter();
                    instances.extend(found.flat_map(|reservation| reservation.instances_set));
                    token = page.next_token;
                    if token.is_none() {
                        return Ok(instances);
                    }
                }
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_gathered_from_all_interfaces() {
        let page: Page = quick_xml::de::from_str(
            "<DescribeInstancesResponse><reservationSet><item><instancesSet><item>\
             <instanceId>i-1</instanceId><instanceState><code>16</code><name>running</name>\
             </instanceState><launchTime>2026-01-01T00:00:00.000Z</launchTime>\
             <privateDnsName>ip-10-0-0-1.ec2.internal</privateDnsName><dnsName/>\
             <privateIpAddress>10.0.0.1</privateIpAddress><ipAddress>198.51.100.1</ipAddress>\
             <networkInterfaceSet><item><privateDnsName>ip-10-0-0-1.ec2.internal</privateDnsName>\
             <privateIpAddressesSet><item><privateIpAddress>10.0.0.2</privateIpAddress>\
             <privateDnsName>ip-10-0-0-2.ec2.internal</privateDnsName></item>\
             </privateIpAddressesSet><ipv6AddressesSet><item><ipv6Address>2001:db8::1</ipv6Address>\
             </item></ipv6AddressesSet></item></networkInterfaceSet>\
             </item></instancesSet></item></reservationSet></DescribeInstancesResponse>",
        )
        .unwrap();
        let instance = &page.reservation_set[0].instances_set[0];
        assert!(instance.is_running());
        assert_eq!(
            instance.dns_names(),
            ["ip-10-0-0-1.ec2.internal", "ip-10-0-0-2.ec2.internal"]
        );
        let addresses = ["10.0.0.1", "10.0.0.2", "198.51.100.1", "2001:db8::1"];
        assert_eq!(
            instance.addresses(),
            addresses.map(|text| text.parse::<IpAddr>().unwrap())
        );
        assert_eq!(
            instance.launch_time.unwrap().to_string(),
            "2026-01-01T00:00:00Z"
        );
    }
}
