//! Which Auto Scaling groups belong to the cluster, and how they are seen.

use std::fmt;

use crate::{
    flag::{BadValue, FlagValue, Kind},
    value::plain::{read_items, read_last, show_items},
};

/// A group named on the command line: `min:max:name`. Its limits win over those of the Auto
/// Scaling group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeGroupSpec {
    /// Least size; 0 is allowed.
    pub min_size: i64,
    /// Largest size.
    pub max_size: i64,
    /// Name of the Auto Scaling group; may hold colons.
    pub name: String,
}

impl NodeGroupSpec {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':');
        let (Some(min), Some(max), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("wrong nodes configuration".to_owned());
        };
        let integer = |which: &str, text: &str| {
            text.parse::<i64>()
                .map_err(|_| format!("failed to set {which} size: {text}, expected integer"))
        };
        let (min_size, max_size) = (integer("min", min)?, integer("max", max)?);
        if min_size < 0 {
            return Err("min size must be >= 0".to_owned());
        }
        if max_size < min_size {
            return Err("max size must be greater or equal to min size".to_owned());
        }
        if name.trim().is_empty() {
            return Err("name must not be blank".to_owned());
        }
        Ok(Self {
            min_size,
            max_size,
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for NodeGroupSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}:{}:{}",
            self.min_size, self.max_size, self.name
        )
    }
}

impl FlagValue for Vec<NodeGroupSpec> {
    const KIND: Kind = Kind::List;
    const FORM: &'static str = "MIN:MAX:NAME";
    const EXPECTED: &'static str = "least size, largest size and name as `1:10:workers`";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_items(given, NodeGroupSpec::parse)
    }

    fn show(&self) -> String {
        self.show_each().join(" ")
    }

    fn show_each(&self) -> Vec<String> {
        show_items(self)
    }
}

/// A tag that a group must carry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagFilter {
    /// The tag's key.
    pub key: String,
    /// The value that it must have; any when `None`.
    pub value: Option<String>,
}

impl fmt::Display for TagFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(formatter, "{}={value}", self.key),
            None => formatter.write_str(&self.key),
        }
    }
}

/// One rule of discovery: groups that carry all these tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoverySpec {
    /// The tags, in the order given; at least one.
    pub tags: Vec<TagFilter>,
}

impl DiscoverySpec {
    /// Reads `asg:tag=key[=value][,key[=value]…]`. Blanks around an item are dropped (a
    /// folded YAML line leaves them), which the Go autoscaler does not do: it then looks for
    /// a key that begins with a blank, and finds nothing.
    fn parse(text: &str) -> Result<Self, String> {
        let (discoverer, rest) = text
            .trim()
            .split_once(':')
            .ok_or("invalid node group auto discovery spec: no `:` behind the discoverer")?;
        if discoverer != "asg" {
            return Err(format!("unsupported discoverer specified: {discoverer}"));
        }
        let (parameter, items) = rest
            .split_once('=')
            .ok_or_else(|| format!("invalid key=value pair: {rest}"))?;
        if parameter != "tag" {
            return Err(format!("unsupported parameter key: {parameter}"));
        }
        if items.trim().is_empty() {
            return Err("tag value not supplied".to_owned());
        }
        let tags = items
            .split(',')
            .map(|item| {
                let (key, value) = item.split_once('=').unwrap_or((item, ""));
                if key.trim().is_empty() {
                    return Err("a tag without a key".to_owned());
                }
                Ok(TagFilter {
                    key: key.trim().to_owned(),
                    value: Some(value.trim().to_owned()).filter(|value| !value.is_empty()),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { tags })
    }
}

impl fmt::Display for DiscoverySpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tags: Vec<String> = self.tags.iter().map(ToString::to_string).collect();
        write!(formatter, "asg:tag={}", tags.join(","))
    }
}

impl FlagValue for Vec<DiscoverySpec> {
    const KIND: Kind = Kind::List;
    const FORM: &'static str = "asg:tag=KEY[=VALUE][,…]";
    const EXPECTED: &'static str = "tags as `asg:tag=k8s.io/cluster-autoscaler/enabled,\
                                    k8s.io/cluster-autoscaler/my-cluster`";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_items(given, DiscoverySpec::parse)
    }

    fn show(&self) -> String {
        self.show_each().join(" ")
    }

    fn show_each(&self) -> Vec<String> {
        show_items(self)
    }
}

/// How many pods a new node is expected to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AwsMaxPods {
    /// As the nodes of the cluster show.
    #[default]
    Auto,
    /// As many as the network interfaces have addresses for.
    Eni,
    /// As with address prefixes: 110, or 250 on more than 30 CPUs.
    Prefix,
    /// This many.
    Count(u32),
}

impl FlagValue for AwsMaxPods {
    const KIND: Kind = Kind::Scalar;
    const FORM: &'static str = "MODE";
    const EXPECTED: &'static str = "`auto`, `eni`, `prefix` or a number above 0";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_last(given, |text| match text {
            "auto" => Ok(Self::Auto),
            "eni" => Ok(Self::Eni),
            "prefix" => Ok(Self::Prefix),
            number => match number.parse() {
                Ok(count) if count > 0 => Ok(Self::Count(count)),
                _ => Err("neither a mode nor a number above 0"),
            },
        })
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Eni => "eni".to_owned(),
            Self::Prefix => "prefix".to_owned(),
            Self::Count(count) => count.to_string(),
        }
    }
}
