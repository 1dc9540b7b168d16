use crate::{
    flag::flag_group,
    value::{AwsLaunchApi, AwsMaxPods, AwsMixedTemplate, DiscoveryMode},
};

flag_group! {
    /// What only AWS knows.
    struct Aws in aws, "AWS";

    /// Take instance types from the built-in table instead of asking EC2.
    "aws-use-static-instance-list" => use_static_instance_list: bool = false, Acted;

    /// What several `--node-group-auto-discovery` mean: groups with the tags of all of them,
    /// or of any.
    "aws-discovery-mode" => discovery_mode: DiscoveryMode = DiscoveryMode::All, Acted;

    /// What a group of several instance types is taken for: its first one, or the least or
    /// the most of each resource over all.
    "aws-mixed-template" => mixed_template: AwsMixedTemplate = AwsMixedTemplate::Min, Acted;

    /// Pods that a new node takes: `eni` as its network interfaces have addresses, `prefix`
    /// with address prefixes, a number, or `auto` as the cluster's nodes show.
    "aws-max-pods" => max_pods: AwsMaxPods = AwsMaxPods::Auto, Acted;

    /// Call that grows a group: `set-desired-capacity`, or `launch-instances` where the group
    /// allows it.
    "aws-launch-api" => launch_api: AwsLaunchApi = AwsLaunchApi::SetDesiredCapacity, Acted;

    /// Protect instances from scale-in, so that Auto Scaling never chooses one to end. Needs
    /// the permission `autoscaling:SetInstanceProtection`.
    "aws-protect-from-scale-in" => protect_from_scale_in: bool = false, Acted;

    /// File of prices that come before the built-in ones: `type m5.large 0.096`, `family m5 0.192`
    /// (the price of its `xlarge`) or `spot m5.large us-east-1a 0.035` on a line.
    "aws-price-file" => price_file: Option<String> = None, Acted;

    /// Ask AWS for prices: spot prices hourly, the price list daily. Needs the permissions
    /// `ec2:DescribeSpotPriceHistory` and `pricing:GetProducts`.
    "aws-ask-prices" => ask_prices: bool = false, Acted;
}
