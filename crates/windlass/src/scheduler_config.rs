//! The file of `--scheduler-config-file`.

use std::fs;

use anyhow::{Context as _, bail};
use serde_json::Value;
use windlass_config::Config;
use windlass_objects::read_documents;
use windlass_scheduler::Profiles;

/// The profiles of the file that the flag names, or the default ones without it.
pub(crate) fn profiles(config: &Config) -> anyhow::Result<Profiles> {
    let Some(file) = config.scheduler.config_file.as_deref() else {
        return Ok(Profiles::default());
    };
    read(file).with_context(|| format!("Failed to get scheduler config: `{file}`"))
}

fn read(file: &str) -> anyhow::Result<Profiles> {
    let text = fs::read_to_string(file).context("couldn't load scheduler config")?;
    let documents = read_documents(file, &text).context("couldn't decode scheduler config")?;
    let [document] = &documents[..] else {
        bail!(
            "it has {} documents: write one KubeSchedulerConfiguration",
            documents.len()
        );
    };
    let configuration: Value = document.read()?;
    Ok(Profiles::from_configuration(&configuration)?)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use windlass_model::SchedulerVersion;
    use windlass_scheduler::Profile;

    use super::*;

    /// The profiles of a file of this text, or all of the error's chain.
    fn profiles_of(case: &str, text: &str) -> Result<Profiles, String> {
        let name = format!("windlass-{}-{case}.yaml", std::process::id());
        let file: PathBuf = std::env::temp_dir().join(name);
        fs::write(&file, text).unwrap();
        let flag = format!("--scheduler-config-file={}", file.display());
        let (config, warnings) = Config::parse([flag]).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let profiles = profiles(&config);
        fs::remove_file(&file).unwrap();
        profiles.map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn without_a_file_the_profile_is_the_default_one() {
        let (config, _) = Config::parse([""; 0]).unwrap();
        assert_eq!(profiles(&config).unwrap(), Profiles::default());
    }

    #[test]
    fn a_file_of_yaml_says_which_checks_there_are() {
        let text = "apiVersion: kubescheduler.config.k8s.io/v1\n\
                    kind: KubeSchedulerConfiguration\n\
                    profiles:\n- plugins: {multiPoint: {disabled: [{name: NodePorts}]}}\n";
        let profiles = profiles_of("disabled", text).unwrap();
        let version = SchedulerVersion::V1_37;
        assert_ne!(profiles.of(version), &Profile::new(version));
    }

    #[test]
    fn a_bad_file_is_refused_and_named() {
        let head = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";
        for (name, text, reason) in [
            (
                "two",
                format!("{head}profiles: [{{}}, {{}}]\n"),
                "found 2 profiles",
            ),
            (
                "kind",
                "apiVersion: v1\nkind: ConfigMap\n".to_owned(),
                "couldn't assert type as KubeSchedulerConfiguration",
            ),
            (
                "plugin",
                format!(
                    "{head}profiles: [{{plugins: {{filter: {{enabled: [{{name: Mine}}]}}}}}}]\n"
                ),
                "invalid KubeSchedulerConfiguration",
            ),
            (
                "text",
                "a: [".to_owned(),
                "couldn't decode scheduler config",
            ),
            (
                "several",
                format!("{head}---\n{head}"),
                "it has 2 documents",
            ),
        ] {
            let error = profiles_of(name, &text).unwrap_err();
            assert!(
                error.starts_with("Failed to get scheduler config: "),
                "{error}"
            );
            assert!(error.contains(reason), "{error}");
            assert!(error.contains(&format!("-{name}.yaml")), "{error}");
        }
    }
}
