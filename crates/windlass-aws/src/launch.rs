//! What a group launches its instances from. Pure.

use windlass_aws_client::autoscaling::{
    AutoScalingGroup, GroupInstance, LaunchTemplateSpecification,
};
use windlass_aws_client::ec2::{BlockDevice, InstanceRequirements, LaunchTemplateVersion};

/// Where a group's launches come from, as its description has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// The template or configuration.
    pub source: Source,
    /// What the policy's overrides say of the type; the source's own, if nothing.
    pub choice: Choice,
    /// How many of a hundred instances are spot instances, by the policy; none without a policy.
    pub spot_percent: Option<u32>,
}

/// What holds image, user data and mostly the type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A launch configuration of this name.
    Configuration(String),
    /// A version of a launch template.
    Template(LaunchTemplateSpecification),
}

/// What the overrides of a policy say.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// Nothing.
    OfSource,
    /// These types, in order of priority.
    Types(Vec<String>),
    /// Attributes.
    Requirements(Vec<InstanceRequirements>),
}

/// A group that cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// The text is the Go autoscaler's.
    #[error("invalid setup of both instance type and instance requirements overrides configured")]
    BothKinds,
    /// Neither of the three ways.
    #[error("the group has no launch configuration, launch template or mixed instances policy")]
    Nothing,
}

impl Launch {
    /// Reads a group's description.
    pub fn of(group: &AutoScalingGroup) -> Result<Self, LaunchError> {
        if let Some(name) = &group.launch_configuration_name {
            return Ok(Self {
                source: Source::Configuration(name.clone()),
                choice: Choice::OfSource,
                spot_percent: None,
            });
        }
        if let Some(template) = &group.launch_template {
            return Ok(Self {
                source: Source::Template(template.clone()),
                choice: Choice::OfSource,
                spot_percent: None,
            });
        }
        let policy = group
            .mixed_instances_policy
            .as_ref()
            .ok_or(LaunchError::Nothing)?;
        let types: Vec<String> = policy
            .overrides
            .iter()
            .filter_map(|choice| choice.instance_type.clone())
            .collect();
        let requirements: Vec<InstanceRequirements> = policy
            .overrides
            .iter()
            .filter_map(|choice| choice.instance_requirements.clone())
            .collect();
        let choice = match (types.is_empty(), requirements.is_empty()) {
            (false, false) => return Err(LaunchError::BothKinds),
            (false, true) => Choice::Types(types),
            (true, false) => Choice::Requirements(requirements),
            (true, true) => Choice::OfSource,
        };
        Ok(Self {
            source: Source::Template(policy.launch_template.clone()),
            choice,
            spot_percent: Some(
                100_u32
                    .saturating_sub(policy.distribution.on_demand_percentage_above_base_capacity),
            ),
        })
    }
}

impl Source {
    /// One text for the same source: a cache's key. By the id, where there is one, for a name can
    /// be given to another template.
    pub fn key(&self) -> String {
        match self {
            Self::Configuration(name) => format!("configuration {name}"),
            Self::Template(template) => format!(
                "template {} version {}",
                template
                    .id
                    .as_ref()
                    .or(template.name.as_ref())
                    .map_or("", String::as_str),
                version(template)
            ),
        }
    }

    /// Whether an instance comes from it as it is now, `version` being the concrete one of a
    /// template.
    pub fn has_launched(&self, instance: &GroupInstance, version: Option<u64>) -> bool {
        match self {
            Self::Configuration(name) => instance.launch_configuration_name.as_ref() == Some(name),
            Self::Template(template) => instance.launch_template.as_ref().is_some_and(|from| {
                let is_same = match (&template.id, &from.id) {
                    (Some(id), Some(of_instance)) => id == of_instance,
                    _ => template.name == from.name,
                };
                let number = from.version.as_deref().and_then(|text| text.parse().ok());
                is_same && number.is_some() && number == version
            }),
        }
    }

    /// Whether what it says can never change.
    pub fn is_fixed(&self) -> bool {
        match self {
            Self::Configuration(_) => true,
            Self::Template(template) => version(template).parse::<u64>().is_ok(),
        }
    }
}

/// The version to ask for: an absent one means the default, which EC2 wants spelled out.
pub fn version(template: &LaunchTemplateSpecification) -> &str {
    template.version.as_deref().unwrap_or("$Default")
}

/// What a source says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LaunchData {
    /// The concrete version, of a template.
    pub version: Option<u64>,
    /// Instance type.
    pub instance_type: Option<String>,
    /// Attributes instead of a type.
    pub requirements: Option<InstanceRequirements>,
    /// Machine image.
    pub image: Option<String>,
    /// What the user data says.
    pub user_data: crate::user_data::UserData,
    /// Volumes.
    pub block_devices: Vec<BlockDevice>,
    /// Whether its instances are spot instances.
    pub is_spot: bool,
}

impl From<LaunchTemplateVersion> for LaunchData {
    fn from(version: LaunchTemplateVersion) -> Self {
        let data = version.data;
        Self {
            version: Some(version.version),
            instance_type: data.instance_type,
            requirements: data.instance_requirements,
            image: data.image_id,
            user_data: user_data(data.user_data.as_ref()),
            block_devices: data.block_devices,
            is_spot: data
                .instance_market_options
                .and_then(|options| options.market_type)
                .is_some_and(|market| market == "spot"),
        }
    }
}

impl From<windlass_aws_client::autoscaling::LaunchConfiguration> for LaunchData {
    fn from(configuration: windlass_aws_client::autoscaling::LaunchConfiguration) -> Self {
        Self {
            version: None,
            instance_type: configuration.instance_type,
            requirements: None,
            image: configuration.image_id,
            user_data: user_data(configuration.user_data.as_ref()),
            block_devices: Vec::new(),
            is_spot: configuration.spot_price.is_some(),
        }
    }
}

fn user_data(encoded: Option<&windlass_aws_client::Secret>) -> crate::user_data::UserData {
    encoded
        .map(|encoded| crate::user_data::UserData::from_base64(encoded.expose()))
        .unwrap_or_default()
}

/// The size of the root volume in GiB: the template's own for the image's root device, else the
/// image's; where the image is not known, the template's only volume.
pub fn root_volume_gib(own: &[BlockDevice], image: Option<(&str, &[BlockDevice])>) -> Option<u64> {
    let size = |devices: &[BlockDevice], root: &str| {
        devices
            .iter()
            .find(|device| device.device_name == root)
            .and_then(|device| device.ebs.as_ref()?.volume_size)
    };
    match image {
        Some((root, devices)) => size(own, root).or_else(|| size(devices, root)),
        None => match own {
            [only] => only.ebs.as_ref()?.volume_size,
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use windlass_aws_client::autoscaling::{LaunchTemplateOverride, MixedInstancesPolicy};

    use super::*;

    fn template(version: Option<&str>) -> LaunchTemplateSpecification {
        LaunchTemplateSpecification {
            id: Some("lt-1".to_owned()),
            name: Some("workers".to_owned()),
            version: version.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn an_instance_of_an_earlier_version_does_not_come_from_the_current_one() {
        let instance = |id: &str, version: &str| GroupInstance {
            launch_template: Some(LaunchTemplateSpecification {
                id: Some(id.to_owned()),
                name: None,
                version: Some(version.to_owned()),
            }),
            ..GroupInstance::default()
        };
        let latest = Source::Template(template(Some("$Latest")));
        assert!(latest.has_launched(&instance("lt-1", "3"), Some(3)));
        assert!(!latest.has_launched(&instance("lt-1", "2"), Some(3)));
        assert!(!latest.has_launched(&instance("lt-2", "3"), Some(3)));
        assert!(!latest.has_launched(&instance("lt-1", "$Latest"), None));
        let configuration = Source::Configuration("old".to_owned());
        assert!(!configuration.has_launched(&instance("lt-1", "3"), None));
        let of_it = GroupInstance {
            launch_configuration_name: Some("old".to_owned()),
            ..GroupInstance::default()
        };
        assert!(configuration.has_launched(&of_it, None));
    }

    fn policy(overrides: Vec<LaunchTemplateOverride>) -> AutoScalingGroup {
        AutoScalingGroup {
            mixed_instances_policy: Some(MixedInstancesPolicy {
                launch_template: template(Some("3")),
                overrides,
                ..MixedInstancesPolicy::default()
            }),
            ..AutoScalingGroup::default()
        }
    }

    fn of_type(name: &str) -> LaunchTemplateOverride {
        LaunchTemplateOverride {
            instance_type: Some(name.to_owned()),
            ..LaunchTemplateOverride::default()
        }
    }

    fn of_requirements() -> LaunchTemplateOverride {
        LaunchTemplateOverride {
            instance_requirements: Some(InstanceRequirements::default()),
            ..LaunchTemplateOverride::default()
        }
    }

    /// Point 11 of the acceptance checklist, as far as the description decides.
    #[test]
    fn checklist_11_configuration_template_and_policy() {
        let configuration = AutoScalingGroup {
            launch_configuration_name: Some("old".to_owned()),
            ..AutoScalingGroup::default()
        };
        assert_eq!(
            Launch::of(&configuration).unwrap().source.key(),
            "configuration old"
        );
        for (given, asked, fixed) in [
            (None, "$Default", false),
            (Some("$Latest"), "$Latest", false),
            (Some("7"), "7", true),
        ] {
            let group = AutoScalingGroup {
                launch_template: Some(template(given)),
                ..AutoScalingGroup::default()
            };
            let source = Launch::of(&group).unwrap().source;
            assert_eq!(source.key(), format!("template lt-1 version {asked}"));
            assert_eq!(source.is_fixed(), fixed);
        }
        let typed = Launch::of(&policy(vec![of_type("m5.large"), of_type("c5.large")])).unwrap();
        assert_eq!(
            typed.choice,
            Choice::Types(vec!["m5.large".to_owned(), "c5.large".to_owned()])
        );
        assert_eq!(
            Launch::of(&policy(vec![])).unwrap().choice,
            Choice::OfSource
        );
        assert!(matches!(
            Launch::of(&policy(vec![of_requirements()])).unwrap().choice,
            Choice::Requirements(_)
        ));
        assert_eq!(
            Launch::of(&policy(vec![of_type("m5.large"), of_requirements()])),
            Err(LaunchError::BothKinds)
        );
        assert_eq!(
            Launch::of(&AutoScalingGroup::default()),
            Err(LaunchError::Nothing)
        );
    }

    #[test]
    fn the_root_volume_is_the_template_s_for_the_image_s_device() {
        let device = |name: &str, size| BlockDevice {
            device_name: name.to_owned(),
            ebs: Some(windlass_aws_client::ec2::EbsVolume {
                volume_size: Some(size),
            }),
        };
        let image = [device("/dev/xvda", 8)];
        let image = Some(("/dev/xvda", &image[..]));
        assert_eq!(root_volume_gib(&[], image), Some(8));
        assert_eq!(root_volume_gib(&[device("/dev/xvda", 50)], image), Some(50));
        assert_eq!(root_volume_gib(&[device("/dev/sdb", 50)], image), Some(8));
        assert_eq!(root_volume_gib(&[device("/dev/sdb", 50)], None), Some(50));
        assert_eq!(root_volume_gib(&[], None), None);
    }
}
