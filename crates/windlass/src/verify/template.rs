//! Which group of the configuration file a run is about, and how big its nodes would be. Pure.

use anyhow::bail;
use windlass_aws::instance_type::Catalogue;
use windlass_provision::cluster_config::ClusterConfig;

/// A group of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Its name.
    pub(super) group: String,
    /// CPU of its smallest instance type, in thousandths; none where no type is known.
    pub(super) cpu_milli: Option<i64>,
}

/// The named group; else the first that takes pods without tolerations, if there is one.
pub(super) fn target(
    config: &ClusterConfig,
    named: Option<&str>,
) -> anyhow::Result<Option<Target>> {
    let found = config.groups().find(|it| match named {
        Some(named) => it.group.name == named,
        None => it.group.taints.is_empty(),
    });
    let Some(found) = found else {
        let Some(named) = named else {
            return Ok(None);
        };
        let groups: Vec<&str> = config.spec.groups.iter().map(|it| &*it.name).collect();
        bail!(
            "--group: the file has no group `{named}`; it has {}",
            groups.join(", ")
        );
    };
    let known = Catalogue::default();
    let types = found
        .instance_types
        .iter()
        .filter_map(|name| known.get(name));
    Ok(Some(Target {
        group: found.group.name.clone(),
        cpu_milli: types.map(|it| i64::from(it.v_cpus) * 1000).min(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_tells_which_group_and_how_big_its_nodes_are() {
        let text = "apiVersion: windlass.dev/v1alpha1\nkind: Cluster\nspec:\n  cluster: prod\n  \
             region: eu-west-1\n  endpoint: api:443\n  kubernetes: v1.36.3\n  subnets: [subnet-1]\n  \
             securityGroups: [sg-1]\n  defaults: {image: {id: ami-1}}\n  groups:\n  \
             - {name: big, min: 0, max: 1, instanceType: m5.2xlarge, taints: ['a=b:NoSchedule']}\n  \
             - {name: mixed, min: 0, max: 1, instances: {types: [m5.2xlarge, m5.xlarge]}}\n";
        let config = ClusterConfig::read("cluster.yaml", text).unwrap();
        let check = |named, group: &str, cpu_milli| {
            let expected = Target {
                group: group.to_owned(),
                cpu_milli: Some(cpu_milli),
            };
            assert_eq!(target(&config, named).unwrap(), Some(expected));
        };
        check(None, "mixed", 4000);
        check(Some("big"), "big", 8000);
        let error = target(&config, Some("bgi")).unwrap_err();
        assert!(error.to_string().contains("it has big, mixed"), "{error}");
    }
}
