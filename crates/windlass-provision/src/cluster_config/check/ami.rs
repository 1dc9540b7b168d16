//! `spec.ami`.

use std::collections::BTreeSet;

use super::{Problems, ids, instance_type, is_id, is_name, is_parameter, is_region, root_volume};
use crate::cluster_config::ami::{Ami, Download, ImageArchive, Repository};
use crate::cluster_config::schema::Spec;

/// A build that takes longer hangs.
const LONGEST_BUILD_SECONDS: u64 = 4 * 3600;
const SHORTEST_BUILD_SECONDS: u64 = 60;

/// EC2 takes no later date than ten years from now.
const MOST_DAYS: u32 = 3650;

const NOT_SHAREABLE: &str = "other accounts cannot use what the account's own key has encrypted: \
                             name a key that they may use";

pub(super) fn ami(spec: &Spec, problems: &mut Problems) {
    let Some(ami) = &spec.ami else {
        return;
    };
    let source = &ami.source;
    problems.expect(source.reference().is_some(), "spec.ami.source", || {
        "expected exactly one of `id`, `parameter`, and `name` with `owner`".to_owned()
    });
    if let Some(id) = &source.id {
        problems.expect(is_id(id, "ami-"), "spec.ami.source.id", || {
            format!("`{id}` is no image id: expected one such as `ami-0123456789abcdef0`")
        });
    }
    problems.expect(
        spec.ami_kubernetes(ami).is_some(),
        "spec.ami.kubernetes",
        || "is missing, and spec.kubernetes is no version".to_owned(),
    );
    repositories(ami, problems);
    download("spec.ami.windlass", &ami.windlass, problems);
    container_images(ami, problems);
    builder(spec, ami, problems);
    publish(spec, ami, problems);
}

fn repositories(ami: &Ami, problems: &mut Problems) {
    let mut names = BTreeSet::new();
    for (index, repository) in ami.repositories.iter().flatten().enumerate() {
        let path = format!("spec.ami.repositories[{index}]");
        self::repository(&path, repository, problems);
        problems.expect(
            names.insert(&repository.name),
            &format!("{path}.name"),
            || {
                format!(
                    "`{}` is the name of an earlier one too: names are unique",
                    repository.name
                )
            },
        );
    }
}

fn repository(path: &str, repository: &Repository, problems: &mut Problems) {
    let Repository {
        name,
        uri,
        suite,
        components,
        key,
    } = repository;
    problems.expect(is_name(name), &format!("{path}.name"), || {
        format!("`{name}`: expected a-z, 0-9 and `-`")
    });
    let is_uri = ["https://", "http://", "file:/"]
        .iter()
        .any(|scheme| uri.starts_with(scheme));
    problems.expect(is_uri && is_word(uri), &format!("{path}.uri"), || {
        format!("`{uri}`: expected `https://…`, `http://…` or `file:/…`, without spaces")
    });
    problems.expect(is_word(suite), &format!("{path}.suite"), || {
        format!("`{suite}`: expected one suite, or `/` for a repository without")
    });
    problems.expect(
        components.is_empty() == suite.ends_with('/'),
        &format!("{path}.components"),
        || "a suite has components, and a repository without a suite (`/`) has none".to_owned(),
    );
    for component in components {
        problems.expect(is_word(component), &format!("{path}.components"), || {
            format!("`{component}`: expected a word")
        });
    }
    let path = format!("{path}.key");
    let is_pinned = match (&key.text, &key.url, &key.fingerprint) {
        (Some(text), None, None) => {
            problems.expect(is_armoured(text), &format!("{path}.text"), || {
                "expected a public key in ASCII armour (`gpg --armor --export KEY`)".to_owned()
            });
            true
        }
        (None, Some(url), Some(fingerprint)) => {
            problems.expect(is_url(url), &format!("{path}.url"), || expected_url(url));
            problems.expect(
                fingerprint.len() == 40 && fingerprint.bytes().all(|b| b.is_ascii_hexdigit()),
                &format!("{path}.fingerprint"),
                || format!("`{fingerprint}`: expected 40 hexadecimal digits"),
            );
            true
        }
        _ => false,
    };
    problems.expect(is_pinned, &path, || {
        "expected `text`, or `url` with the `fingerprint` that the key must have".to_owned()
    });
}

fn is_armoured(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----")
        && text.ends_with("-----END PGP PUBLIC KEY BLOCK-----")
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic())
}

fn is_url(text: &str) -> bool {
    ["https://", "file:///"].iter().any(|scheme| {
        text.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty() && is_word(rest))
    })
}

fn expected_url(found: &str) -> String {
    format!("`{found}`: expected `https://…` or `file:///…`")
}

fn download(path: &str, download: &Download, problems: &mut Problems) {
    let Download { url, sha256 } = download;
    problems.expect(is_url(url), &format!("{path}.url"), || expected_url(url));
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    problems.expect(
        sha256.len() == 64 && sha256.bytes().all(is_digit),
        &format!("{path}.sha256"),
        || format!("`{sha256}`: expected 64 hexadecimal digits (`sha256sum FILE`)"),
    );
}

fn container_images(ami: &Ami, problems: &mut Problems) {
    let images = &ami.container_images;
    for (index, name) in images.pull.iter().enumerate() {
        image_name(
            &format!("spec.ami.containerImages.pull[{index}]"),
            name,
            problems,
        );
    }
    for (index, archive) in images.archives.iter().enumerate() {
        let path = format!("spec.ami.containerImages.archives[{index}]");
        let ImageArchive {
            url,
            sha256,
            images,
        } = archive;
        let file = Download {
            url: url.clone(),
            sha256: sha256.clone(),
        };
        download(&path, &file, problems);
        problems.expect(!images.is_empty(), &format!("{path}.images"), || {
            "is empty: name the images in the archive, so that they can be looked for".to_owned()
        });
        for (index, name) in images.iter().enumerate() {
            image_name(&format!("{path}.images[{index}]"), name, problems);
        }
    }
}

fn image_name(path: &str, name: &str, problems: &mut Problems) {
    let has_registry = name
        .split_once('/')
        .is_some_and(|(host, _)| host.contains('.') || host.contains(':'));
    problems.expect(super::is_image(name) && has_registry, path, || {
        format!("`{name}`: expected the full name, such as `registry.k8s.io/pause:3.10`")
    });
}

fn builder(spec: &Spec, ami: &Ami, problems: &mut Problems) {
    let builder = &ami.builder;
    if let Some(name) = &builder.instance_type {
        instance_type("spec.ami.builder.instanceType", name, problems);
    }
    if let Some(subnet) = &builder.subnet {
        ids(
            "spec.ami.builder.subnet",
            std::slice::from_ref(subnet),
            "subnet-",
            problems,
        );
    }
    problems.expect(
        builder.subnet.is_some() || !spec.subnets.is_empty(),
        "spec.ami.builder.subnet",
        || "neither the builder nor spec.subnets names one".to_owned(),
    );
    if let Some(profile) = &builder.instance_profile {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "+=,.@-_".contains(c);
        problems.expect(
            !profile.is_empty() && profile.chars().all(allowed),
            "spec.ami.builder.instanceProfile",
            || format!("`{profile}` is no name of an instance profile"),
        );
    }
    root_volume(
        "spec.ami.builder.rootVolume",
        &builder.root_volume,
        problems,
    );
    let seconds = builder.timeout.0.as_secs();
    problems.expect(
        (SHORTEST_BUILD_SECONDS..=LONGEST_BUILD_SECONDS).contains(&seconds),
        "spec.ami.builder.timeout",
        || format!("{}: expected 1m to 4h", builder.timeout),
    );
}

fn publish(spec: &Spec, ami: &Ami, problems: &mut Problems) {
    let publish = &ami.publish;
    let mut seen = BTreeSet::new();
    for (index, copy) in publish.copies.iter().enumerate() {
        let path = format!("spec.ami.publish.copies[{index}]");
        let region = &copy.region;
        problems.expect(is_region(region), &format!("{path}.region"), || {
            format!("`{region}` is no AWS region: expected one such as `eu-west-1`")
        });
        problems.expect(
            *region != spec.region && seen.insert(region),
            &format!("{path}.region"),
            || format!("`{region}` is where it is already: leave it out"),
        );
        problems.expect(
            publish.accounts.is_empty() || copy.kms_key.is_some(),
            &format!("{path}.kmsKey"),
            || format!("{NOT_SHAREABLE} here"),
        );
    }
    for (index, account) in publish.accounts.iter().enumerate() {
        problems.expect(
            account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()),
            &format!("spec.ami.publish.accounts[{index}]"),
            || format!("`{account}`: expected the twelve digits of an account, in quotes"),
        );
    }
    problems.expect(
        publish.accounts.is_empty() || ami.builder.root_volume.kms_key.is_some(),
        "spec.ami.publish.accounts",
        || format!("{NOT_SHAREABLE} in spec.ami.builder.rootVolume.kmsKey"),
    );
    if let Some(parameter) = &publish.parameter {
        problems.expect(
            is_parameter(parameter),
            "spec.ami.publish.parameter",
            || format!("`{parameter}` is no name for a parameter"),
        );
    }
    if let Some(after) = publish.deprecate_after {
        problems.expect(
            (1..=MOST_DAYS).contains(&after.0),
            "spec.ami.publish.deprecateAfter",
            || format!("{after}: expected 1d to {MOST_DAYS}d"),
        );
    }
}
