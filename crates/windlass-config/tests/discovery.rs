//! `--node-group-auto-discovery`, by the rules of the Go autoscaler's AWS provider.

use windlass_config::Config;

fn tags(spec: &str) -> Result<Vec<String>, String> {
    let flag = format!("--node-group-auto-discovery={spec}");
    match Config::parse([flag.as_str()]) {
        Ok((config, _)) => Ok(config.node_groups.auto_discovery[0]
            .tags
            .iter()
            .map(ToString::to_string)
            .collect()),
        Err(errors) => Err(errors[0].to_string()),
    }
}

/// Point 2 of the AWS acceptance checklist.
#[test]
fn checklist_02_the_discovery_grammar() {
    for (spec, expected) in [
        ("asg:tag=key", vec!["key"]),
        ("asg:tag=key=", vec!["key"]),
        ("asg:tag=key,otherkey", vec!["key", "otherkey"]),
        ("asg:tag=key=value", vec!["key=value"]),
        ("asg:tag=key=a=b", vec!["key=a=b"]),
        (
            "asg:tag=key=value,otherkey,third=x",
            vec!["key=value", "otherkey", "third=x"],
        ),
        (
            "asg:tag=my:label=value,my:otherlabel=othervalue",
            vec!["my:label=value", "my:otherlabel=othervalue"],
        ),
        ("asg:tag=first, second", vec!["first", "second"]),
    ] {
        assert_eq!(tags(spec).unwrap(), expected, "{spec}");
    }
    for (spec, problem) in [
        ("tag=key", "invalid node group auto discovery spec"),
        ("mig:tag=key", "unsupported discoverer specified"),
        ("asg:tag=", "tag value not supplied"),
        ("asg:=tag", "unsupported parameter key"),
        ("asg:tag", "invalid key=value pair"),
        ("asg:name=workers", "unsupported parameter key"),
        ("asg:tag=key,,other", "a tag without a key"),
    ] {
        let told = tags(spec).unwrap_err();
        assert!(told.contains(problem), "{spec}: {told}");
    }
}
