//! The file of `--cloud-config`, which the cloud controller manager reads, too: a region, and
//! endpoints of one's own. Pure.
//!
//! It is in git-config's dialect of INI: `[Global]` once, `[ServiceOverride "ANY NAME"]` for each
//! endpoint. What is not known is warned about, for the file is shared and grows.

use std::collections::{BTreeMap, BTreeSet};

use windlass_aws_client::{EndpointOverride, Service};

/// What the file says, as far as it concerns us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudConfig {
    /// The region that it names, or that its zone is in.
    pub region: Option<String>,
    /// Endpoints; those of services that are not called are left out.
    pub endpoints: Vec<EndpointOverride>,
    /// What people should know of the file.
    pub warnings: Vec<String>,
}

/// A file that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloudConfigError {
    /// A line that is neither section, key nor comment.
    #[error("line {line}: `{text}` is neither `[Section]` nor `Key=value`")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What it says.
        text: String,
    },
    /// An override that lacks one of its four fields. The texts are those of the Go autoscaler.
    #[error("{what} is missing in service override \"{name}\"")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// The override's name.
        name: String,
    },
    /// Two overrides of one service in one region.
    #[error(
        "duplicate entry found for service override \"{name}\" ({service} in {region}): keep one"
    )]
    Duplicate {
        /// The second one's name.
        name: String,
        /// The service.
        service: String,
        /// The region.
        region: String,
    },
}

/// Keys of `[Global]` that others read and we do not.
const NOT_OURS: [&str; 15] = [
    "vpc",
    "subnetid",
    "routetableid",
    "rolearn",
    "sourcearn",
    "kubernetesclustertag",
    "kubernetesclusterid",
    "disablesecuritygroupingress",
    "elbsecuritygroup",
    "nodeipfamilies",
    "clusterserviceloadbalancerhealthprobemode",
    "clusterservicesharedloadbalancerhealthprobeport",
    "clusterservicesharedloadbalancerhealthprobepath",
    "supportedtopologyinstancetypepattern",
    "nlbsecuritygroupmode",
];

#[derive(Debug)]
enum Section {
    None,
    Global,
    Override(String),
    Unknown,
}

impl CloudConfig {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self, CloudConfigError> {
        let mut read = Self::default();
        let mut zone = None;
        let mut overrides: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let mut section = Section::None;
        for (index, raw) in text.lines().enumerate() {
            let line = index + 1;
            let bad = || CloudConfigError::Line {
                line,
                text: raw.trim().to_owned(),
            };
            let content = raw.trim();
            if content.is_empty() || content.starts_with(['#', ';']) {
                continue;
            }
            if let Some(header) = content.strip_prefix('[') {
                let header = without_comment(header).trim();
                let header = header.strip_suffix(']').ok_or_else(bad)?;
                section = read.section(header, line).ok_or_else(bad)?;
                if let Section::Override(name) = &section {
                    overrides.entry(name.clone()).or_default();
                }
                continue;
            }
            let (key, value) = content.split_once('=').unwrap_or((content, "true"));
            let key = key.trim().to_ascii_lowercase();
            if key.is_empty() || key.contains(char::is_whitespace) {
                return Err(bad());
            }
            let value = plain(value);
            match &section {
                Section::None => return Err(bad()),
                Section::Unknown => {}
                Section::Override(name) => {
                    let fields = overrides.entry(name.clone()).or_default();
                    fields.insert(key, value);
                }
                Section::Global => match key.as_str() {
                    "region" => read.region = Some(value).filter(|region| !region.is_empty()),
                    "zone" => zone = region_of_zone(&value),
                    key if NOT_OURS.contains(&key) => {}
                    _ => read.warnings.push(format!(
                        "line {line}: the key `{key}` of [Global] is not known"
                    )),
                },
            }
        }
        read.region = read.region.take().or(zone);
        read.endpoints(overrides)?;
        Ok(read)
    }

    fn section(&mut self, header: &str, line: usize) -> Option<Section> {
        let (kind, name) = match header.split_once(char::is_whitespace) {
            None => (header, None),
            Some((kind, name)) => {
                let name = name.trim().strip_prefix('"')?.strip_suffix('"')?;
                (kind, Some(name.to_owned()))
            }
        };
        match (kind.to_ascii_lowercase().as_str(), name) {
            ("global", None) => Some(Section::Global),
            ("serviceoverride", Some(name)) => Some(Section::Override(name)),
            _ => {
                self.warnings
                    .push(format!("line {line}: the section [{header}] is not known"));
                Some(Section::Unknown)
            }
        }
    }

    fn endpoints(
        &mut self,
        overrides: BTreeMap<String, BTreeMap<String, String>>,
    ) -> Result<(), CloudConfigError> {
        let mut seen = BTreeSet::new();
        for (name, mut fields) in overrides {
            let mut take = |key: &str, what: &'static str| {
                fields
                    .remove(key)
                    .filter(|value| !value.is_empty())
                    .ok_or_else(|| CloudConfigError::Missing {
                        what,
                        name: name.clone(),
                    })
            };
            let service = take("service", "service name")?;
            let region = take("region", "service region")?;
            let url = take("url", "url")?;
            let signing_region = take("signingregion", "signingRegion")?;
            let signing_name = fields
                .remove("signingname")
                .filter(|value| !value.is_empty());
            fields.remove("signingmethod");
            for key in fields.keys() {
                self.warnings.push(format!(
                    "the key `{key}` of service override \"{name}\" is not known"
                ));
            }
            if !seen.insert((service.clone(), region.clone())) {
                return Err(CloudConfigError::Duplicate {
                    name,
                    service,
                    region,
                });
            }
            if let Some(service) = Service::by_name(&service) {
                self.endpoints.push(EndpointOverride {
                    service,
                    region: Some(region),
                    url,
                    signing_region,
                    signing_name,
                });
            }
        }
        Ok(())
    }
}

/// A value without blanks, quotes and what stands behind a comment sign.
fn plain(value: &str) -> String {
    let value = value.trim();
    if let Some(quoted) = value.strip_prefix('"')
        && let Some((inside, _)) = quoted.split_once('"')
    {
        return inside.trim().to_owned();
    }
    without_comment(value).trim().to_owned()
}

fn without_comment(text: &str) -> &str {
    text.split([';', '#']).next().unwrap_or_default()
}

/// The region that a zone is in: `us-east-1` of `us-east-1a`, `us-west-2` of the local zone
/// `us-west-2-lax-1a`.
pub fn region_of_zone(zone: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in zone.split('-') {
        if part.starts_with(|c: char| c.is_ascii_digit()) {
            let number = part.trim_end_matches(|c: char| c.is_ascii_lowercase());
            parts.push(number);
            return (2 < parts.len()).then(|| parts.join("-"));
        }
        parts.push(part);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = r#"
; shared with the cloud controller manager
[Global]
Zone=eu-west-1a
KubernetesClusterID = prod ; ours
Novelty=1

[ServiceOverride "as"]
Service=autoscaling
Region=eu-west-1
URL = "https://vpce-1.autoscaling.eu-west-1.vpce.amazonaws.com"
SigningRegion=eu-west-1

[serviceoverride "lb"]
service=elasticloadbalancing
region=eu-west-1
url=https://lb
signingregion=eu-west-1
"#;

    /// Point 14 of the acceptance checklist.
    #[test]
    fn checklist_14_a_valid_file() {
        let read = CloudConfig::parse(VALID).unwrap();
        assert_eq!(read.region.as_deref(), Some("eu-west-1"));
        let [only] = &read.endpoints[..] else {
            panic!("{:?}", read.endpoints);
        };
        assert_eq!(only.service, Service::AutoScaling);
        assert_eq!(only.region.as_deref(), Some("eu-west-1"));
        assert_eq!(
            only.url,
            "https://vpce-1.autoscaling.eu-west-1.vpce.amazonaws.com"
        );
        // An unknown key is no error: the file grows with the cloud controller manager.
        assert_eq!(
            read.warnings,
            ["line 6: the key `novelty` of [Global] is not known"]
        );
    }

    /// Point 14 of the acceptance checklist.
    #[test]
    fn checklist_14_each_missing_field_and_a_duplicate() {
        let fields = [
            ("Service=ec2", "service name is missing"),
            ("Region=eu-west-1", "service region is missing"),
            ("URL=https://a", "url is missing"),
            ("SigningRegion=eu-west-1", "signingRegion is missing"),
        ];
        let section = |without: &str, name: &str| {
            let lines: Vec<&str> = fields
                .iter()
                .map(|(line, _)| *line)
                .filter(|line| *line != without)
                .collect();
            format!("[ServiceOverride \"{name}\"]\n{}\n", lines.join("\n"))
        };
        assert!(CloudConfig::parse(&section("", "1")).is_ok());
        for (line, problem) in fields {
            let error = CloudConfig::parse(&section(line, "1")).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("{problem} in service override \"1\"")
            );
            let key = line.split('=').next().unwrap();
            let blank = section("", "1").replace(line, &format!("{key}=  "));
            assert_eq!(CloudConfig::parse(&blank).unwrap_err(), error);
        }
        let twice = format!("{}{}", section("", "1"), section("", "2"));
        let error = CloudConfig::parse(&twice).unwrap_err().to_string();
        assert!(error.starts_with("duplicate entry found for service override"));
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        for (text, line) in [
            ("Zone=a", 1),
            ("[Global\nZone=a", 1),
            ("[Global]\nsome words here = 1", 2),
            ("[ServiceOverride 1]", 1),
        ] {
            match CloudConfig::parse(text) {
                Err(CloudConfigError::Line { line: found, .. }) => {
                    assert_eq!(found, line, "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn local_and_wavelength_zones_are_in_their_region() {
        for (zone, region) in [
            ("us-east-1a", Some("us-east-1")),
            ("us-gov-west-1b", Some("us-gov-west-1")),
            ("us-west-2-lax-1a", Some("us-west-2")),
            ("us-east-1-wl1-bos-wlz-1", Some("us-east-1")),
            ("nowhere", None),
            ("", None),
        ] {
            assert_eq!(region_of_zone(zone).as_deref(), region, "{zone}");
        }
    }
}
