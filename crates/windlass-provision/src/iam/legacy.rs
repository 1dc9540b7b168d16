//! The one policy of the how-to of 2019, for who still has it. It is nobody's default.

use serde_json::{Value, json};

/// Its actions, in its order, all on every resource.
const ACTIONS: [&str; 13] = [
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeAutoScalingInstances",
    "autoscaling:DescribeTags",
    "autoscaling:SetDesiredCapacity",
    "autoscaling:TerminateInstanceInAutoScalingGroup",
    "ssm:DescribeParameters",
    "ssm:GetParameter",
    "ssm:GetParameters",
    "ssm:GetParametersByPath",
    "ssm:DeleteParameter",
    "ssm:DeleteParameters",
    "ssm:PutParameter",
    "ssm:UpdateInstanceInformation",
];

/// What is wrong with it.
pub const LEGACY_FAULTS: [&str; 6] = [
    "it is the nodes' own: every pod that reaches the metadata service may terminate any instance \
     of any Auto Scaling group of the account",
    "such a pod may also read, overwrite and delete every parameter of the account, other systems' \
     secrets included",
    "it cannot look at launch configurations, launch templates, instance types and scaling \
     activities: groups do not grow from zero, and failed launches go unnoticed",
    "it has no right to decrypt: an encrypted join credential cannot be read with a key of your own",
    "ssm:UpdateInstanceInformation is the Systems Manager agent's own call and does nothing here",
    "it works only where the control plane and the nodes have the same role",
];

/// The document, action for action.
pub fn legacy_2019() -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": ACTIONS, "Resource": "*" }],
    })
}
