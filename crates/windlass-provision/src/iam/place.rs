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
        }
    }

    pub(crate) fn arn(&self, service: &str, rest: &str) -> String {
        let Self {
            partition,
            region,
            account,
            ..
        } = self;
        format!("arn:{partition}:{service}:{region}:{account}:{rest}")
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

    fn arn_of_parameter(&self, name: &str) -> String {
        let name = name.trim_start_matches('/');
        self.arn("ssm", &format!("parameter/{name}"))
    }
}
