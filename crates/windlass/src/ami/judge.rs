//! Whether a property holds of a host.

use serde_json::Value;
use windlass_provision::ami::check::{IMAGES_PATH, matches};
use windlass_provision::ami::{Property, sha256};

use super::host::Host;

/// Where containerd keeps content by its hash.
const CONTENT: &str = "/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256";
/// Where settings of the kernel are, the first directory before the others.
const SYSCTL_DIRECTORIES: [&str; 5] = [
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
];
const MODULE_DIRECTORIES: [&str; 4] = [
    "/etc/modules-load.d",
    "/run/modules-load.d",
    "/usr/local/lib/modules-load.d",
    "/usr/lib/modules-load.d",
];

/// What was found, where it is not what was expected.
pub(super) type Fault = String;

/// Says what is wrong; nothing if nothing is.
pub(super) fn judge(property: &Property, host: &Host) -> Result<(), Fault> {
    match property {
        Property::Package { package, version } => self::package(host, package, version),
        Property::Held { package } => held(host, package),
        Property::Program { arguments, says } => program(host, arguments, says),
        Property::Content { path, mode, sha256 } => content(host, path, mode, sha256),
        Property::Line { path, line } => expect(has_line(&host.text(path), line), || {
            format!("`{path}` has no line `{line}`")
        }),
        Property::Module { module } => self::module(host, module),
        Property::Sysctl { key, value } => sysctl(host, key, value),
        Property::NoSwap => no_swap(host),
        Property::UnitEnabled { unit } => enabled(host, unit),
        Property::UnitMasked { unit } => masked(host, unit),
        Property::UnitActive { unit } => {
            let arguments = ["systemctl", "is-active", unit].map(str::to_owned);
            host.run(&arguments).map(|_| ())
        }
        Property::CgroupV2 => expect(host.exists("/sys/fs/cgroup/cgroup.controllers"), || {
            "they are version 1".to_owned()
        }),
        Property::Sandbox { config, kubernetes } => sandbox(host, config, kubernetes),
        Property::ContainerImage { reference } => container_image(host, reference),
        Property::Field {
            path,
            pointer,
            value,
        } => field(host, path, pointer, value),
        Property::Inventory { path } => inventory(host, path),
        Property::Absent { paths } => {
            let found = paths.iter().flat_map(|path| host.matching(path));
            let found: Vec<String> = found.collect();
            expect(found.is_empty(), || {
                format!("there is {}", found.join(", "))
            })
        }
        Property::Empty { path } => empty(host, path),
        Property::Smaller { path, mebibytes } => {
            let found = host.bytes_below(path) >> 20;
            expect(found < *mebibytes, || {
                format!("`{path}` takes {found} MiB, and {mebibytes} are too many")
            })
        }
    }
}

fn expect(holds: bool, fault: impl FnOnce() -> Fault) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(fault()) }
}

/// A package as dpkg's own list has it.
#[derive(Debug, Default)]
struct Package {
    name: String,
    status: String,
    version: String,
}

/// The packages that dpkg knows.
fn packages(host: &Host) -> Vec<Package> {
    let text = host.text("/var/lib/dpkg/status");
    text.split("\n\n")
        .map(|paragraph| {
            let mut package = Package::default();
            for line in paragraph.lines() {
                let Some((key, value)) = line.split_once(": ") else {
                    continue;
                };
                match key {
                    "Package" => value.clone_into(&mut package.name),
                    "Status" => value.clone_into(&mut package.status),
                    "Version" => value.clone_into(&mut package.version),
                    _ => {}
                }
            }
            package
        })
        .filter(|package| package.status.ends_with(" installed"))
        .collect()
}

fn installed(host: &Host, name: &str) -> Result<Package, Fault> {
    packages(host)
        .into_iter()
        .find(|package| package.name == name)
        .ok_or_else(|| "it is not installed".to_owned())
}

fn package(host: &Host, name: &str, version: &str) -> Result<(), Fault> {
    let found = installed(host, name)?.version;
    expect(matches(version, &found), || {
        format!("it is {found}, expected {version}")
    })
}

fn held(host: &Host, name: &str) -> Result<(), Fault> {
    // That it is not there at all is told by another check.
    let is_held = installed(host, name).is_ok_and(|it| it.status.starts_with("hold "));
    let is_missing = installed(host, name).is_err();
    expect(is_held || is_missing, || {
        "an upgrade would change it".to_owned()
    })
}

fn program(host: &Host, arguments: &[String], says: &str) -> Result<(), Fault> {
    let said = host.run(arguments)?;
    expect(says_word(&said, says), || {
        let first = said.lines().next().unwrap_or("nothing");
        format!("it says `{first}`, expected `{says}`")
    })
}

/// Whether a text has another in it that does not go on with a digit: `v1.36.3` is not in `v1.36.30`.
fn says_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let next = text[at + word.len()..].chars().next();
        !next.is_some_and(|c| c.is_ascii_digit() && word.ends_with(|c: char| c.is_ascii_digit()))
    })
}

fn content(host: &Host, path: &str, mode: &str, expected: &str) -> Result<(), Fault> {
    let state = host
        .file(path)
        .map_err(|error| format!("`{path}`: {error}"))?;
    expect(state.is_roots, || format!("`{path}` is not root's"))?;
    expect(state.mode == mode, || {
        format!("`{path}` has mode {}, expected {mode}", state.mode)
    })?;
    let bytes = host
        .read(path)
        .map_err(|error| format!("`{path}`: {error}"))?;
    let found = sha256(&bytes);
    expect(found == expected, || {
        format!("`{path}` has another content: SHA-256 {found}, expected {expected}")
    })
}

fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|found| found.trim() == line)
}

/// The texts of the `*.conf` of several directories, in the order in which they are read: by their
/// names, and of one name only that of the first directory.
fn drop_ins(host: &Host, directories: &[&str]) -> Vec<String> {
    let mut files = std::collections::BTreeMap::new();
    for directory in directories {
        for name in host.names(directory) {
            if has_suffix(&name, ".conf") {
                let path = format!("{directory}/{name}");
                files.entry(name).or_insert(path);
            }
        }
    }
    files.values().map(|path| host.text(path)).collect()
}

/// systemd's names end in lower case or are others.
fn has_suffix(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some()
}

fn module(host: &Host, name: &str) -> Result<(), Fault> {
    let at_boot = drop_ins(host, &MODULE_DIRECTORIES)
        .iter()
        .chain([&host.text("/etc/modules")])
        .any(|text| has_line(text, name));
    expect(at_boot, || "it is not loaded at boot".to_owned())?;
    let is_loaded = !host.is_running || host.exists(&format!("/sys/module/{name}"));
    expect(is_loaded, || "it is not loaded".to_owned())
}

fn sysctl(host: &Host, key: &str, value: &str) -> Result<(), Fault> {
    let mut texts = drop_ins(host, &SYSCTL_DIRECTORIES);
    texts.push(host.text("/etc/sysctl.conf"));
    let at_boot = texts
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| setting(line, key))
        .next_back()
        .map(str::to_owned);
    expect(at_boot.as_deref() == Some(value), || match &at_boot {
        Some(found) => format!("it is set to {found} at boot, expected {value}"),
        None => format!("nothing sets it at boot, expected {value}"),
    })?;
    if !host.is_running {
        return Ok(());
    }
    let path = format!("/proc/sys/{}", key.replace('.', "/"));
    let now = host.text(&path);
    expect(now.trim() == value, || {
        format!("it is {}, expected {value}", now.trim())
    })
}

/// What a line sets `key` to.
fn setting<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let line = line.trim().trim_start_matches('-');
    let (found, value) = line.split_once('=')?;
    (found.trim().replace('/', ".") == key).then(|| value.trim())
}

fn no_swap(host: &Host) -> Result<(), Fault> {
    let fstab = host.text("/etc/fstab");
    let swap = fstab.lines().find(|line| {
        !line.trim_start().starts_with('#') && line.split_whitespace().nth(2) == Some("swap")
    });
    expect(swap.is_none(), || {
        format!("/etc/fstab: {}", swap.unwrap_or_default())
    })?;
    let in_use = host.is_running && 1 < host.text("/proc/swaps").lines().count();
    expect(!in_use, || "some is in use".to_owned())
}

fn enabled(host: &Host, unit: &str) -> Result<(), Fault> {
    let is_wanted = host
        .names("/etc/systemd/system")
        .iter()
        .filter(|name| has_suffix(name, ".wants") || has_suffix(name, ".requires"))
        .any(|name| host.exists(&format!("/etc/systemd/system/{name}/{unit}")));
    expect(is_wanted, || "nothing wants it at boot".to_owned())
}

fn masked(host: &Host, unit: &str) -> Result<(), Fault> {
    let link = host.link(&format!("/etc/systemd/system/{unit}"));
    expect(link.as_deref() == Some("/dev/null".as_ref()), || {
        "it can begin".to_owned()
    })
}

fn sandbox(host: &Host, config: &str, kubernetes: &str) -> Result<(), Fault> {
    let text = host.text(config);
    let found = text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        let is_it = ["sandbox_image", "sandbox"].contains(&key.trim());
        is_it.then(|| value.trim().trim_matches('"'))
    });
    let Some(found) = found else {
        return Err(format!("`{config}` names none"));
    };
    let version = format!("v{kubernetes}");
    let arguments = [
        "kubeadm",
        "config",
        "images",
        "list",
        "--kubernetes-version",
        &version,
    ];
    // That kubeadm does not run is told by another check.
    let Ok(wanted) = host.run(&arguments.map(str::to_owned)) else {
        return Ok(());
    };
    expect(has_line(&wanted, found), || {
        let pause = wanted.lines().find(|line| line.contains("/pause:"));
        format!(
            "it is {found}, and kubeadm wants {}",
            pause.unwrap_or("none")
        )
    })
}

fn container_image(host: &Host, reference: &str) -> Result<(), Fault> {
    let noted = host.text(IMAGES_PATH);
    let digest = noted.lines().find_map(|line| {
        let (name, digest) = line.split_once(' ')?;
        matches(reference, name).then_some(digest)
    });
    let Some(digest) = digest else {
        return Err(format!("`{IMAGES_PATH}` does not name it"));
    };
    let missing = missing_content(host, digest);
    expect(missing.is_empty(), || {
        format!("containerd lacks {}", missing.join(", "))
    })
}

/// The digests of an image's content that are not there: of the manifest itself and all that it
/// names. Of an index it is enough that one platform is whole.
fn missing_content(host: &Host, digest: &str) -> Vec<String> {
    let Ok(bytes) = host.read(&blob(digest)) else {
        return vec![digest.to_owned()];
    };
    let Ok(document) = serde_json::from_slice::<Value>(&bytes) else {
        return vec![digest.to_owned()];
    };
    let digests = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        let named = items.filter_map(|item| item["digest"].as_str());
        named.map(str::to_owned).collect()
    };
    if document["manifests"].is_array() {
        let platforms = digests(&document["manifests"]);
        let lacking: Vec<Vec<String>> = platforms
            .iter()
            .map(|platform| missing_content(host, platform))
            .collect();
        return lacking
            .into_iter()
            .min_by_key(Vec::len)
            .unwrap_or_else(|| vec![digest.to_owned()]);
    }
    let config = document["config"]["digest"].as_str().map(str::to_owned);
    let mut named: Vec<String> = config.into_iter().collect();
    named.extend(digests(&document["layers"]));
    named.retain(|digest| host.file(&blob(digest)).is_err());
    named
}

fn blob(digest: &str) -> String {
    format!("{CONTENT}/{}", digest.trim_start_matches("sha256:"))
}

fn field(host: &Host, path: &str, pointer: &str, value: &str) -> Result<(), Fault> {
    let bytes = host
        .read(path)
        .map_err(|error| format!("`{path}`: {error}"))?;
    let document: Value =
        serde_json::from_slice(&bytes).map_err(|error| format!("`{path}` is no JSON: {error}"))?;
    let found = document.pointer(pointer).and_then(Value::as_str);
    expect(found.is_some_and(|found| matches(value, found)), || {
        let found = found.unwrap_or("nothing");
        format!("`{path}` has {found} in {pointer}, expected {value}")
    })
}

fn inventory(host: &Host, path: &str) -> Result<(), Fault> {
    let document: Value = host
        .read(path)
        .map_err(|error| format!("`{path}`: {error}"))
        .and_then(|bytes| {
            serde_json::from_slice(&bytes).map_err(|error| format!("`{path}` is no JSON: {error}"))
        })?;
    expect(document["bomFormat"] == "CycloneDX", || {
        format!("`{path}` is no inventory in CycloneDX")
    })?;
    let items = document["components"].as_array().into_iter().flatten();
    let named: std::collections::BTreeSet<&str> =
        items.filter_map(|item| item["name"].as_str()).collect();
    let missing: Vec<String> = packages(host)
        .into_iter()
        .map(|package| package.name)
        .filter(|name| !named.contains(name.as_str()))
        .collect();
    expect(missing.is_empty(), || {
        format!("`{path}` lacks {}", missing.join(", "))
    })
}

fn empty(host: &Host, path: &str) -> Result<(), Fault> {
    let state = host
        .file(path)
        .map_err(|error| format!("`{path}`: {error}"))?;
    expect(state.length == 0, || {
        format!("`{path}` has {} bytes", state.length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_not_found_in_a_longer_one() {
        assert!(says_word("Kubernetes v1.36.3\n", "v1.36.3"));
        assert!(!says_word("Kubernetes v1.36.30\n", "v1.36.3"));
        assert!(says_word("v1.36.30 v1.36.3", "v1.36.3"));
        assert!(says_word("runc version 1.1.5", "runc version"));
    }

    #[test]
    fn a_running_host_is_asked_too() {
        let root = std::env::temp_dir().join(format!("windlass-ami-live-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("etc/sysctl.d/9.conf", "kernel.panic = 10\n");
        write("etc/modules-load.d/a.conf", "overlay\n");
        write("proc/sys/kernel/panic", "0\n");
        write("proc/swaps", "Filename Type\n/dev/sdb partition\n");
        let mut host = Host::at(&root);
        let sysctl = Property::Sysctl {
            key: "kernel.panic".to_owned(),
            value: "10".to_owned(),
        };
        let module = Property::Module {
            module: "overlay".to_owned(),
        };
        let properties = [sysctl, module, Property::NoSwap];
        for property in &properties {
            assert_eq!(judge(property, &host), Ok(()));
        }
        host.is_running = true;
        let faults = properties
            .each_ref()
            .map(|it| judge(it, &host).unwrap_err());
        assert_eq!(
            faults,
            ["it is 0, expected 10", "it is not loaded", "some is in use"]
        );
        assert!(judge(&Property::CgroupV2, &host).is_err());
        write("proc/sys/kernel/panic", "10\n");
        write("proc/swaps", "Filename Type\n");
        write("sys/module/overlay/refcnt", "1\n");
        write("sys/fs/cgroup/cgroup.controllers", "cpu\n");
        for property in properties.iter().chain([&Property::CgroupV2]) {
            assert_eq!(judge(property, &host), Ok(()));
        }
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn settings_are_read_as_sysctl_reads_them() {
        assert_eq!(
            setting("net/ipv4/ip_forward=1", "net.ipv4.ip_forward"),
            Some("1")
        );
        assert_eq!(setting(" -kernel.panic = 10 ", "kernel.panic"), Some("10"));
        assert_eq!(setting("#kernel.panic = 10", "kernel.panic"), None);
        assert_eq!(setting("kernel.panic_on_oops = 1", "kernel.panic"), None);
    }
}
