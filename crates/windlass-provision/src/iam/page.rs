//! `docs/iam.md`, made of the table.

use std::fmt::Write;

use super::{Actor, Feature, Place, Scope, policy};

const HEAD: &str = "\
<!-- Made by `cargo xtask gen` from crates/windlass-provision/src/iam. -->

# Permissions on AWS

Each actor has a policy of its own; `windlass iam render --actor ACTOR` prints it for a cluster.
Every permission that is not required can be left out: the feature is then off, one warning says
so, and nothing else suffers. Describing actions of Auto Scaling and EC2 know no resource in AWS, so they
are on `*`; whatever changes something is narrowed to the cluster's groups by their tag
`k8s.io/cluster-autoscaler/CLUSTER`, or by name with `--groups`, and to what the cluster owns by its names
and its tag `windlass.dev/cluster`. Making a key knows no resource in AWS either: it is granted for keys that
get that tag. Launch configurations have no tags, and those that people made have names of any kind: of these
`provision-prune` may delete what no group has.

With `--config cluster.yaml` everything is named as the file names it (parameters, key, groups that do
not begin with the cluster's name, regions and keys of image copies), and the features follow from the
file too: `createKey` brings `provision-key`, `nodeSecurityGroup` brings
`provision-security-group`, `zonal: true` brings `provision-zones`, a flag of
`spec.autoscaler.flags` what that flag needs; the column \"needed\" says it for each. What only a command
asks for follows from no file but for `provision roll` and `ami prune`, which every cluster needs in time.
Standard error lists the features that were taken and those that were left out. `--features NAME,…` names
them instead, besides those that are always needed; `usual` among them stands for what is taken where none
is named, `all` for all, `none` for none. `windlass iam check` goes by the same features.

A command that is denied an action names the actor, and the feature where it is not a usual one. `windlass
verify` asks AWS nothing without `--config`; with it, it goes by the policy of `doctor`. An instance profile
of your own for the builder of images (`spec.ami.builder.instanceProfile`) is taken to have a role of its
name.

`--format cfn` and `--format terraform`
print a managed policy for these tools. `--actor legacy-2019` prints the one policy of the how-to of 2019,
action for action, and on standard error what is wrong with it; nothing else in Windlass makes it.
";

/// The page.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for actor in Actor::ALL {
        section(&mut page, actor);
    }
    page
}

fn section(page: &mut String, actor: Actor) {
    // Writing into a String cannot fail.
    let _ = write!(
        page,
        "\n## {}\n\n{}.\n\n| feature | action | on | needed | without it |\n|---|---|---|---|---|\n",
        actor.name(),
        actor.purpose()
    );
    for feature in actor.features() {
        for grant in feature.grants() {
            for action in grant.actions {
                let _ = writeln!(
                    page,
                    "| {} | `{action}` | {} | {} | {} |",
                    feature.name(),
                    describe(grant.scope),
                    feature.needed_when(),
                    feature.without_it()
                );
            }
        }
    }
    let mut place = Place::new("eu-west-1", "123456789012", "prod");
    if matches!(
        actor,
        Actor::Node | Actor::Rotator | Actor::Provisioner | Actor::Doctor
    ) {
        place.key = Some("arn:aws:kms:eu-west-1:123456789012:key/1234abcd".to_owned());
    }
    let usual: Vec<Feature> = actor
        .features()
        .into_iter()
        .filter(|feature| feature.is_usual())
        .collect();
    let document = policy(&usual, &place);
    let text = serde_json::to_string_pretty(&document).unwrap_or_default();
    let _ = write!(
        page,
        "\nFor a cluster `prod`, as it is rendered where neither a file nor a feature is named:\n\n```json\n{text}\n```\n"
    );
}

fn describe(scope: Scope) -> &'static str {
    match scope {
        Scope::Everything => "`*`",
        Scope::Groups => "the cluster's groups",
        Scope::Nodegroups => "the cluster's node groups",
        Scope::Fleet => "the account's resources in the region",
        Scope::ImageParameters => "AWS's public parameters",
        Scope::JoinParameters => "the join parameter, and the plain one where there is one",
        Scope::JoinParameter => "the join parameter",
        Scope::Lock => "the cluster's lock",
        Scope::NodeRole => "the nodes' role",
        Scope::PassedNodeRole => "the nodes' role, for EC2",
        Scope::NodeProfile => "the nodes' instance profile",
        Scope::NewGroups => "groups of the cluster's or the file's names, made with its tag",
        Scope::OrphanGroups => "groups without an owner, given the cluster's tag",
        Scope::OwnGroups => "groups with the cluster's tag",
        Scope::NewTemplates => "templates made with the cluster's tag",
        Scope::OwnTemplates => "templates with the cluster's tag",
        Scope::TagsOfNew => {
            "templates, what they launch and security groups, when it is made with the cluster's tag"
        }
        Scope::NewSecurityGroups => "security groups made with the cluster's tag",
        Scope::Networks => "the account's VPCs in the region",
        Scope::OwnSecurityGroups => "security groups with the cluster's tag",
        Scope::Launches => "launches of launch templates",
        Scope::LaunchConfigurations => "launch configurations of the cluster's or the file's names",
        Scope::FormerLaunchConfigurations => {
            "launch configurations of any name; AWS keeps those that a group has"
        }
        Scope::NewKeys => "`*`, made with the cluster's tag: AWS knows no resource",
        Scope::TagsOfNewKeys => "keys, given the cluster's tag",
        Scope::OwnKeys => "keys with the cluster's tag",
        Scope::KeyAlias => "the join key's alias",
        Scope::Keys => "the account's keys in the region",
        Scope::ParameterKey => {
            "keys with the cluster's tag, for the join parameter, through Systems Manager"
        }
        Scope::JoinKey => "the key, for that parameter, through Systems Manager",
        Scope::AmiFleet => {
            "the account's resources in the region; images and snapshots where copies go"
        }
        Scope::AmiMade => "what has the tag `windlass.dev/build`",
        Scope::AmiRole => "the building instance's role, for EC2",
        Scope::AmiRoleItself => "the building instance's role",
        Scope::AmiProfile => "the building instance's profile",
        Scope::AmiReports => "the builds' reports",
        Scope::AmiParameters => {
            "the parameters of the cluster's images, and `spec.ami.publish.parameter`"
        }
        Scope::NamedImages => {
            "the parameters of the cluster's images, and those that groups name theirs by"
        }
        Scope::SourceParameters => "AWS's public parameters, and that of `spec.ami.source`",
        Scope::AmiKeys => "the images' keys by ARN or id, through EC2",
        Scope::AmiKeysByAlias => "the images' keys by alias, through EC2",
    }
}
