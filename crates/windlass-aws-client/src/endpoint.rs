//! Which host a service's calls go to. Pure.

/// The services that Windlass calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// EC2 Auto Scaling.
    AutoScaling,
    /// EC2.
    Ec2,
    /// EKS.
    Eks,
    /// IAM: one endpoint for a whole partition.
    Iam,
    /// KMS.
    Kms,
    /// The price list: a few endpoints for all regions.
    Pricing,
    /// Systems Manager.
    Ssm,
    /// Security Token Service.
    Sts,
    /// The tagging service of resource groups.
    Tagging,
}

/// Where calls go, and for which region they are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Scheme, host and port, without a slash at the end.
    pub(crate) url: String,
    /// Region of the signature.
    pub(crate) signing_region: String,
}

/// An endpoint given by the operator for one service, as the cloud configuration's
/// `ServiceOverride` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointOverride {
    /// The service.
    pub service: Service,
    /// The region that it is for; any where none is named.
    pub region: Option<String>,
    /// Scheme, host and port.
    pub url: String,
    /// Region that requests are signed for.
    pub signing_region: String,
    /// Service name that requests are signed for, if not the service's own.
    pub signing_name: Option<String>,
}

/// Variants of the endpoint that the environment or profile asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) fips: bool,
    pub(crate) dual_stack: bool,
}

impl Service {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::AutoScaling,
        Self::Ec2,
        Self::Eks,
        Self::Iam,
        Self::Kms,
        Self::Pricing,
        Self::Ssm,
        Self::Sts,
        Self::Tagging,
    ];

    /// The service of a name, as the cloud configuration has it.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// The name in signatures, in host names and in the cloud configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::AutoScaling => "autoscaling",
            Self::Ec2 => "ec2",
            Self::Eks => "eks",
            Self::Iam => "iam",
            Self::Kms => "kms",
            Self::Pricing => "pricing",
            Self::Ssm => "ssm",
            Self::Sts => "sts",
            Self::Tagging => "tagging",
        }
    }

    /// The SDKs' service id, from which `AWS_ENDPOINT_URL_…` variables take their names.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::AutoScaling => "Auto Scaling",
            Self::Ec2 => "EC2",
            Self::Eks => "EKS",
            Self::Iam => "IAM",
            Self::Kms => "KMS",
            Self::Pricing => "Pricing",
            Self::Ssm => "SSM",
            Self::Sts => "STS",
            Self::Tagging => "Resource Groups Tagging API",
        }
    }

    /// AWS's own endpoint for the service in a region.
    pub(crate) fn endpoint(self, region: &str, variant: Variant) -> Endpoint {
        let partition = Partition::of(region);
        if self == Self::Iam {
            return partition.iam();
        }
        if self == Self::Pricing {
            return pricing(region, partition.suffix);
        }
        let fips = if variant.fips { "-fips" } else { "" };
        let suffix = if variant.dual_stack {
            partition.dual_stack_suffix
        } else {
            partition.suffix
        };
        Endpoint {
            url: format!("https://{}{fips}.{region}.{suffix}", self.name()),
            signing_region: region.to_owned(),
        }
    }
}

/// The price list of all regions is served from a few of them.
fn pricing(region: &str, suffix: &str) -> Endpoint {
    let home = if region.starts_with("cn-") {
        "cn-northwest-1"
    } else if region.starts_with("eu-") || region.starts_with("af-") || region.starts_with("me-") {
        "eu-central-1"
    } else if region.starts_with("ap-") {
        "ap-south-1"
    } else {
        "us-east-1"
    };
    Endpoint {
        url: format!("https://api.pricing.{home}.{suffix}"),
        signing_region: home.to_owned(),
    }
}

/// A group of regions that share a DNS suffix and an IAM.
struct Partition {
    suffix: &'static str,
    dual_stack_suffix: &'static str,
    iam_host: &'static str,
    iam_region: &'static str,
}

impl Partition {
    /// The partition of a region, by the prefixes that AWS publishes.
    fn of(region: &str) -> Self {
        let (suffix, dual_stack_suffix, iam_host, iam_region) = if region.starts_with("cn-") {
            (
                "amazonaws.com.cn",
                "api.amazonwebservices.com.cn",
                "iam.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
            )
        } else if region.starts_with("us-gov-") {
            (
                "amazonaws.com",
                "api.aws",
                "iam.us-gov.amazonaws.com",
                "us-gov-west-1",
            )
        } else if region.starts_with("us-isob-") {
            (
                "sc2s.sgov.gov",
                "sc2s.sgov.gov",
                "iam.us-isob-east-1.sc2s.sgov.gov",
                "us-isob-east-1",
            )
        } else if region.starts_with("us-iso-") {
            (
                "c2s.ic.gov",
                "c2s.ic.gov",
                "iam.us-iso-east-1.c2s.ic.gov",
                "us-iso-east-1",
            )
        } else {
            ("amazonaws.com", "api.aws", "iam.amazonaws.com", "us-east-1")
        };
        Self {
            suffix,
            dual_stack_suffix,
            iam_host,
            iam_region,
        }
    }

    fn iam(&self) -> Endpoint {
        Endpoint {
            url: format!("https://{}", self.iam_host),
            signing_region: self.iam_region.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(service: Service, region: &str) -> String {
        service.endpoint(region, Variant::default()).url
    }

    #[test]
    fn endpoints_follow_the_partition() {
        assert_eq!(
            url(Service::AutoScaling, "eu-west-1"),
            "https://autoscaling.eu-west-1.amazonaws.com"
        );
        assert_eq!(
            url(Service::Ec2, "cn-north-1"),
            "https://ec2.cn-north-1.amazonaws.com.cn"
        );
        assert_eq!(
            url(Service::Sts, "us-gov-west-1"),
            "https://sts.us-gov-west-1.amazonaws.com"
        );
    }

    #[test]
    fn iam_has_one_endpoint_for_a_partition() {
        let endpoint = Service::Iam.endpoint("eu-west-1", Variant::default());
        assert_eq!(endpoint.url, "https://iam.amazonaws.com");
        assert_eq!(endpoint.signing_region, "us-east-1");
    }

    #[test]
    fn the_price_list_is_served_from_a_few_regions() {
        let endpoint = Service::Pricing.endpoint("ap-northeast-1", Variant::default());
        assert_eq!(endpoint.url, "https://api.pricing.ap-south-1.amazonaws.com");
        assert_eq!(endpoint.signing_region, "ap-south-1");
    }

    #[test]
    fn fips_and_dual_stack_change_the_host() {
        let variant = Variant {
            fips: true,
            dual_stack: true,
        };
        assert_eq!(
            Service::Ec2.endpoint("us-east-1", variant).url,
            "https://ec2-fips.us-east-1.api.aws"
        );
    }
}
