//! Where and for whom policies are.

/// Where and for whom the policies are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: String,
    /// The region.
    pub region: String,
    /// The account's twelve digits.
    pub account: String,
    /// The cluster's name.
    pub cluster: String,
    /// Names of the Auto Scaling groups; where there are none, the cluster's tag tells them.
    pub groups: Vec<String>,
    /// The value that the cluster's tag has to have; any where none is said.
    pub tag_value: Option<String>,
    /// The join credential's parameter.
    pub parameter: String,
    /// Plain parameter that the bare token is written to too, if any.
    pub plain_parameter: Option<String>,
    /// The key that encrypts the credential: ARN, id or alias; AWS's own where none is said, which
    /// needs no grant.
    pub key: Option<String>,
    /// Names of the file's groups that do not begin with the cluster's, with a `*` at the end where
    /// the zone comes.
    pub other_groups: Vec<String>,
    /// What the file says of machine images.
    pub images: Images,
}

/// Whence machine images come and whither they go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// Parameters by which groups name their images, besides AWS's public ones and the cluster's own
    /// below `/windlass/<cluster>/image/`.
    pub named: Vec<String>,
    /// The parameter that names the stock image, unless it is one of AWS's public ones.
    pub source: Option<String>,
    /// The parameter that an image's id is written to, unless it is one of the cluster's own.
    pub announced: Option<String>,
    /// Regions that images are copied to.
    pub copies: Vec<String>,
    /// Keys of the images' disks, each with its region: ARN, id or alias.
    pub keys: Vec<(String, String)>,
    /// The builder's instance profile, whose role is taken to have the same name;
    /// `<cluster>-windlass-ami` where none is said.
    pub profile: Option<String>,
}

impl Place {
    /// A cluster in `aws`, with the names that Windlass gives.
    pub fn new(region: &str, account: &str, cluster: &str) -> Self {
        let partition = if region.starts_with("cn-") {
            "aws-cn"
        } else if region.starts_with("us-gov-") {
            "aws-us-gov"
        } else {
            "aws"
        };
        Self {
            partition: partition.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            cluster: cluster.to_owned(),
            groups: Vec::new(),
            tag_value: None,
            parameter: format!("/windlass/{cluster}/join"),
            plain_parameter: None,
            key: None,
            other_groups: Vec::new(),
            images: Images::default(),
        }
    }

    pub(crate) fn arn(&self, service: &str, rest: &str) -> String {
        self.arn_in(&self.region, service, rest)
    }

    pub(super) fn arn_in(&self, region: &str, service: &str, rest: &str) -> String {
        let Self {
            partition, account, ..
        } = self;
        format!("arn:{partition}:{service}:{region}:{account}:{rest}")
    }

    /// The role of the instances that build images.
    pub(super) fn builder_role_arn(&self) -> String {
        match &self.images.profile {
            Some(profile) => self.iam_arn(&format!("role/{profile}")),
            None => self.role_arn("ami"),
        }
    }

    /// Their instance profile.
    pub(super) fn builder_profile_arn(&self) -> String {
        match &self.images.profile {
            Some(profile) => self.iam_arn(&format!("instance-profile/{profile}")),
            None => self.instance_profile_arn("ami"),
        }
    }

    /// A role of Windlass's names: `<cluster>-windlass-<whose>`.
    pub(super) fn role_arn(&self, whose: &str) -> String {
        self.iam_arn(&format!("role/{}-windlass-{whose}", self.cluster))
    }

    /// An instance profile of Windlass's names.
    pub(super) fn instance_profile_arn(&self, whose: &str) -> String {
        self.iam_arn(&format!(
            "instance-profile/{}-windlass-{whose}",
            self.cluster
        ))
    }

    /// Everybody of the account whom its policies let.
    pub(crate) fn root_arn(&self) -> String {
        self.iam_arn("root")
    }

    /// IAM knows no regions.
    fn iam_arn(&self, rest: &str) -> String {
        format!("arn:{}:iam::{}:{rest}", self.partition, self.account)
    }

    /// Alias of the key that Windlass makes for the join credential.
    pub(super) fn join_key_alias(&self) -> String {
        crate::cluster_config::join_key_alias(&self.cluster)
    }

    /// The end of the names of the partition's hosts and services.
    fn dns_suffix(&self) -> &'static str {
        match self.partition.as_str() {
            "aws-cn" => "amazonaws.com.cn",
            _ => "amazonaws.com",
        }
    }

    pub(crate) fn ec2_service(&self) -> String {
        format!("ec2.{}", self.dns_suffix())
    }

    pub(crate) fn ssm_host(&self) -> String {
        format!("ssm.{}.{}", self.region, self.dns_suffix())
    }

    pub(crate) fn parameter_arn(&self) -> String {
        self.arn_of_parameter(&self.parameter)
    }

    pub(crate) fn plain_parameter_arn(&self) -> Option<String> {
        let name = self.plain_parameter.as_deref()?;
        Some(self.arn_of_parameter(name))
    }

    /// EC2 in a region, as keys know it.
    pub(super) fn ec2_host(&self, region: &str) -> String {
        format!("ec2.{region}.{}", self.dns_suffix())
    }

    pub(super) fn arn_of_parameter(&self, name: &str) -> String {
        let name = name.trim_start_matches('/');
        self.arn("ssm", &format!("parameter/{name}"))
    }
}
