//! What an image must be: a list of properties, each looked at by itself.
//!
//! The list is data, so that it travels in the image (`/etc/windlass/checks.json`) and a node can be
//! held against what it was built as. Who looks is the binary: here is no I/O.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::content;
use super::recipe::{Recipe, sha256};

/// Where the list is in an image.
pub const CHECKS_PATH: &str = "/etc/windlass/checks.json";
/// Where an image says what it is.
pub const PROVENANCE_PATH: &str = "/etc/windlass/image.json";
/// Where an image says what packages it is made of.
pub const SBOM_PATH: &str = "/etc/windlass/sbom.json";
/// Where an image says which container images it has.
pub const IMAGES_PATH: &str = "/etc/windlass/images.txt";
/// Most that logs may take, in MiB.
const MOST_LOGS_MIB: u64 = 200;

/// One property of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The part of the image.
    pub area: String,
    /// What is looked at, for people; unique in a list.
    pub name: String,
    /// The property.
    #[serde(flatten)]
    pub property: Property,
}

/// What must hold. Versions and references may end with `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Property {
    /// A package is installed in this version.
    Package {
        /// Its name.
        package: String,
        /// Its version; `*` for any.
        version: String,
    },
    /// A package is held, so that no upgrade changes it.
    Held {
        /// Its name.
        package: String,
    },
    /// A program runs and says something.
    Program {
        /// The program by its path, and its arguments.
        arguments: Vec<String>,
        /// What it says on one of its streams.
        says: String,
    },
    /// A file has this content and belongs to root.
    Content {
        /// Its path.
        path: String,
        /// Permissions, in octal digits.
        mode: String,
        /// SHA-256 of its content.
        sha256: String,
    },
    /// A file has this line, whatever stands around it.
    Line {
        /// Its path.
        path: String,
        /// The line, without spaces at its ends.
        line: String,
    },
    /// A module of the kernel is loaded at boot; on a running host, is loaded.
    Module {
        /// Its name.
        module: String,
    },
    /// A setting of the kernel is made at boot; on a running host, holds.
    Sysctl {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
    },
    /// No swap at boot; on a running host, none in use.
    NoSwap,
    /// A unit begins at boot.
    UnitEnabled {
        /// Its name.
        unit: String,
    },
    /// A unit can not begin.
    UnitMasked {
        /// Its name.
        unit: String,
    },
    /// A unit runs.
    UnitActive {
        /// Its name.
        unit: String,
    },
    /// Control groups are version 2.
    CgroupV2,
    /// The runtime's sandboxes are of the image that kubeadm wants, so that it is not pulled in vain.
    Sandbox {
        /// The runtime's configuration.
        config: String,
        /// The version that kubeadm is asked for.
        kubernetes: String,
    },
    /// A container image is there with all its content.
    ContainerImage {
        /// Its full name.
        reference: String,
    },
    /// An object of JSON has this text in a field.
    Field {
        /// The file.
        path: String,
        /// JSON pointer, such as `/kubernetes`.
        pointer: String,
        /// The text; `*` for any.
        value: String,
    },
    /// An inventory in `CycloneDX` names every package that is installed.
    Inventory {
        /// The file.
        path: String,
    },
    /// Nothing matches any of these paths, each part of which may have one `*`.
    Absent {
        /// The paths.
        paths: Vec<String>,
    },
    /// A file is there and has no content.
    Empty {
        /// Its path.
        path: String,
    },
    /// The files below a directory take less.
    Smaller {
        /// The directory.
        path: String,
        /// In MiB.
        mebibytes: u64,
    },
}

/// When a property is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Always.
    Always,
    /// On a running host alone.
    Running,
    /// In an image alone: a host that has booted has host keys, an id and logs of its own.
    Image,
}

impl Property {
    /// When it is looked at.
    pub fn scope(&self) -> Scope {
        match self {
            Self::UnitActive { .. } | Self::CgroupV2 => Scope::Running,
            Self::Absent { .. } | Self::Empty { .. } | Self::Smaller { .. } => Scope::Image,
            _ => Scope::Always,
        }
    }
}

/// Whether a text is what a pattern says, whose last character may be a `*`.
pub fn matches(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(begin) => text.starts_with(begin),
        None => text == pattern,
    }
}

/// Collects the checks of one area.
struct List(Vec<Check>);

impl List {
    fn add(&mut self, area: &str, name: impl Into<String>, property: Property) {
        self.0.push(Check {
            area: area.to_owned(),
            name: name.into(),
            property,
        });
    }

    fn program(&mut self, area: &str, name: &str, arguments: &[&str], says: impl Into<String>) {
        let property = Property::Program {
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            says: says.into(),
        };
        self.add(area, format!("{name} runs"), property);
    }
}

impl Recipe {
    /// All that an image of this recipe must be.
    pub fn checks(&self) -> Vec<Check> {
        let mut list = List(Vec::new());
        self.packages(&mut list);
        self.programs(&mut list);
        kernel(&mut list);
        self.runtime(&mut list);
        for file in content::files() {
            let property = Property::Content {
                path: file.path.to_owned(),
                mode: "644".to_owned(),
                sha256: sha256(file.content.as_bytes()),
            };
            list.add(file.section, file.what, property);
        }
        units(&mut list);
        self.container_images(&mut list);
        self.provenance(&mut list);
        hygiene(&mut list);
        list.0
    }

    /// The list as it is in the image.
    pub fn checks_json(&self) -> String {
        // Strings and numbers alone: nothing that serde_json could refuse.
        serde_json::to_string_pretty(&self.checks()).unwrap_or_default()
    }

    fn packages(&self, list: &mut List) {
        let pinned = self.pinned_packages();
        for pin in &pinned {
            let property = Property::Package {
                package: pin.name.clone(),
                version: pin.version.clone().unwrap_or_else(|| "*".to_owned()),
            };
            list.add("packages", format!("package {}", pin.name), property);
        }
        for package in self.distribution_packages() {
            let property = Property::Package {
                package: package.to_owned(),
                version: "*".to_owned(),
            };
            list.add("packages", format!("package {package}"), property);
        }
        for pin in pinned {
            let name = format!("{} is held", pin.name);
            list.add("packages", name, Property::Held { package: pin.name });
        }
    }

    /// A version that is written down is not one that runs.
    fn programs(&self, list: &mut List) {
        let version = format!("v{}", self.kubernetes.version);
        for (name, arguments) in [
            ("kubelet", &["/usr/bin/kubelet", "--version"][..]),
            ("kubeadm", &["/usr/bin/kubeadm", "version", "-o", "short"]),
            (
                "kubectl",
                &["/usr/bin/kubectl", "version", "--client", "-o", "yaml"],
            ),
        ] {
            list.program("packages", name, arguments, &*version);
        }
        for (name, arguments, says) in [
            ("containerd", &["containerd", "--version"], "containerd"),
            ("runc", &["runc", "--version"], "runc version"),
        ] {
            list.program("packages", name, arguments, says);
        }
        if self.ami.packages.cri_tools.is_some() {
            list.program("packages", "crictl", &["crictl", "--version"], "crictl");
        }
        for plugin in ["bridge", "host-local", "loopback", "portmap"] {
            let path = format!("/opt/cni/bin/{plugin}");
            // Without a command in its environment a plugin says what it is.
            list.program(
                "packages",
                &format!("network plugin {plugin}"),
                &[&path],
                "CNI protocol versions supported",
            );
        }
        list.program(
            "windlass",
            "windlass",
            &["/usr/local/bin/windlass", "version"],
            "windlass ",
        );
        let file = Property::Content {
            path: "/usr/local/bin/windlass".to_owned(),
            mode: "755".to_owned(),
            sha256: self.ami.windlass.sha256.clone(),
        };
        list.add("windlass", "windlass is the one of the recipe", file);
    }

    fn runtime(&self, list: &mut List) {
        for (name, line) in content::CONTAINERD_LINES {
            let property = Property::Line {
                path: content::CONTAINERD_CONFIG.to_owned(),
                line: line.to_owned(),
            };
            list.add("containerd", format!("containerd: {name}"), property);
        }
        let sandbox = Property::Sandbox {
            config: content::CONTAINERD_CONFIG.to_owned(),
            kubernetes: self.kubernetes.version.clone(),
        };
        list.add("containerd", "containerd: sandbox image", sandbox);
    }

    fn container_images(&self, list: &mut List) {
        let images = &self.ami.container_images;
        let mut references = Vec::new();
        if images.kubernetes {
            references.push("registry.k8s.io/pause:*".to_owned());
            references.push(format!(
                "registry.k8s.io/kube-proxy:v{}",
                self.kubernetes.version
            ));
        }
        references.extend(images.pull.iter().cloned());
        references.extend(images.archives.iter().flat_map(|it| it.images.clone()));
        references.sort_unstable();
        references.dedup();
        // One image is looked for once: by its full name, where that is known.
        let named = references.clone();
        references.retain(|pattern| {
            let is_named = |name: &String| name != pattern && matches(pattern, name);
            !named.iter().any(is_named)
        });
        for reference in references {
            let name = format!("image {reference}");
            list.add("images", name, Property::ContainerImage { reference });
        }
    }

    fn provenance(&self, list: &mut List) {
        for (name, pointer, value) in [
            (
                "image.json: kubernetes",
                "/kubernetes",
                format!("v{}", self.kubernetes.version),
            ),
            ("image.json: recipe", "/recipe", "*".to_owned()),
        ] {
            let property = Property::Field {
                path: PROVENANCE_PATH.to_owned(),
                pointer: pointer.to_owned(),
                value,
            };
            list.add("provenance", name, property);
        }
        let path = SBOM_PATH.to_owned();
        list.add("provenance", "inventory", Property::Inventory { path });
    }
}

fn kernel(list: &mut List) {
    for module in content::MODULES {
        let property = Property::Module {
            module: module.to_owned(),
        };
        list.add("kernel", format!("module {module}"), property);
    }
    for (key, value) in content::SYSCTLS {
        let property = Property::Sysctl {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        list.add("kernel", format!("sysctl {key}"), property);
    }
    list.add("kernel", "no swap", Property::NoSwap);
    list.add("kernel", "cgroup v2", Property::CgroupV2);
}

fn units(list: &mut List) {
    for unit in content::ENABLED {
        let property = Property::UnitEnabled {
            unit: unit.to_owned(),
        };
        list.add("units", format!("{unit} is enabled"), property);
    }
    for unit in content::MASKED {
        let property = Property::UnitMasked {
            unit: unit.to_owned(),
        };
        list.add("units", format!("{unit} is masked"), property);
    }
    for unit in ["chrony.service", "containerd.service"] {
        let property = Property::UnitActive {
            unit: unit.to_owned(),
        };
        list.add("units", format!("{unit} runs"), property);
    }
}

fn hygiene(list: &mut List) {
    let mut absent = |name: &str, paths: &[&str]| {
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        list.add("hygiene", name, Property::Absent { paths });
    };
    absent("no host keys", &["/etc/ssh/ssh_host_*"]);
    absent(
        "no authorized keys",
        &["/root/.ssh/authorized_keys", "/home/*/.ssh/authorized_keys"],
    );
    absent(
        "no credentials",
        &[
            "/root/.aws",
            "/home/*/.aws",
            "/root/.docker/config.json",
            "/home/*/.docker/config.json",
            "/root/.kube",
            "/home/*/.kube",
            "/root/.netrc",
            "/home/*/.netrc",
        ],
    );
    absent("no kubelet credentials", &["/etc/kubernetes/*.conf"]);
    absent("no state of cloud-init", &["/var/lib/cloud/instance*"]);
    absent(
        "no shell history",
        &["/root/.*_history", "/home/*/.*_history"],
    );
    absent(
        "no core dumps",
        &[
            "/core",
            "/core.*",
            "/var/lib/systemd/coredump/*",
            "/var/crash/*",
        ],
    );
    absent("no package lists", &["/var/lib/apt/lists/*"]);
    absent("no cached packages", &["/var/cache/apt/archives/*.deb"]);
    absent("no random seed", &["/var/lib/systemd/random-seed"]);
    list.add(
        "hygiene",
        "machine id is empty",
        Property::Empty {
            path: "/etc/machine-id".to_owned(),
        },
    );
    list.add(
        "hygiene",
        "logs are small",
        Property::Smaller {
            path: "/var/log".to_owned(),
            mebibytes: MOST_LOGS_MIB,
        },
    );
}

/// The list as a file of goss, as far as goss knows the properties.
pub fn as_goss(checks: &[Check]) -> serde_json::Value {
    use serde_json::{Value, json};
    let mut goss: BTreeMap<&str, serde_json::Map<String, Value>> = BTreeMap::new();
    let mut put = |kind, name: &str, value: Value| {
        goss.entry(kind).or_default().insert(name.to_owned(), value);
    };
    for check in checks {
        match &check.property {
            Property::Package { package, version } => {
                let mut value = json!({"installed": true});
                if version != "*" && !version.ends_with('*') {
                    value["versions"] = json!([version]);
                }
                put("package", package, value);
            }
            Property::Program { arguments, says } => {
                let value =
                    json!({"exec": arguments.join(" "), "exit-status": 0, "stdout": [says]});
                put("command", &check.name, value);
            }
            Property::Content { path, mode, sha256 } => {
                let value = json!({
                    "exists": true, "owner": "root", "mode": format!("0{mode}"), "sha256": sha256,
                });
                put("file", path, value);
            }
            Property::Sysctl { key, value } => put("kernel-param", key, json!({"value": value})),
            Property::UnitEnabled { unit } => put("service", unit, json!({"enabled": true})),
            Property::UnitMasked { unit } => put(
                "file",
                &format!("/etc/systemd/system/{unit}"),
                json!({"exists": true, "linked-to": "/dev/null"}),
            ),
            Property::Empty { path } => put("file", path, json!({"exists": true, "size": 0})),
            Property::Absent { paths } => {
                for path in paths.iter().filter(|path| !path.contains('*')) {
                    put("file", path, json!({"exists": false}));
                }
            }
            _ => {}
        }
    }
    json!(goss)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ami::script::tests::recipe;

    #[test]
    fn every_name_is_there_once() {
        let checks = recipe("").checks();
        let names: BTreeSet<&str> = checks.iter().map(|check| check.name.as_str()).collect();
        assert_eq!(names.len(), checks.len());
    }

    #[test]
    fn the_list_is_read_as_it_was_written() {
        let recipe = recipe("");
        let read: Vec<Check> = serde_json::from_str(&recipe.checks_json()).unwrap();
        assert_eq!(read, recipe.checks());
    }

    #[test]
    fn both_configurations_of_containerd_have_what_is_looked_for() {
        for text in [content::CONTAINERD_1, content::CONTAINERD_2] {
            for (name, line) in content::CONTAINERD_LINES {
                assert!(text.lines().any(|it| it == line), "{name}");
            }
            assert_eq!(text.matches("\"PAUSE\"").count(), 1);
        }
    }

    #[test]
    fn goss_gets_what_it_knows() {
        let goss = as_goss(&recipe("").checks());
        assert_eq!(goss["package"]["kubelet"]["installed"], true);
        assert_eq!(goss["kernel-param"]["kernel.panic"]["value"], "10");
        let masked = &goss["file"]["/etc/systemd/system/apt-daily.timer"];
        assert_eq!(masked["linked-to"], "/dev/null");
        assert_eq!(goss["file"]["/root/.aws"]["exists"], false);
    }

    #[test]
    fn a_star_stands_for_any_end() {
        assert!(matches("1.36.3-*", "1.36.3-1.1"));
        assert!(!matches("1.36.3-*", "1.36.30-1.1"));
        assert!(matches("*", ""));
        assert!(!matches("1.1", "1.1.1"));
    }
}
