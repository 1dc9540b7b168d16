//! `spec.ami`: what machine images are built from.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::schema::{RootVolume, Spec};
use super::values::{Days, GoDuration, as_text};

/// What `windlass ami` builds machine images from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ami {
    /// The stock image to start from.
    pub source: AmiSource,
    /// What the image's machines are.
    #[serde(default)]
    pub architecture: Architecture,
    /// Version of Kubernetes; that of the control plane if left out.
    #[serde(default)]
    pub kubernetes: Option<KubernetesVersion>,
    /// The packages besides Kubernetes' own.
    #[serde(default)]
    pub packages: AmiPackages,
    /// Package repositories besides those of the stock image; Kubernetes' own if left out.
    #[serde(default)]
    pub repositories: Option<Vec<Repository>>,
    /// Whether all packages of the stock image are upgraded first.
    #[serde(default = "yes")]
    pub upgrade: bool,
    /// The windlass that is put into the image.
    pub windlass: Download,
    /// Container images that are in the image already.
    #[serde(default)]
    pub container_images: ContainerImages,
    /// The instance that builds it.
    #[serde(default)]
    pub builder: Builder,
    /// Who gets the image.
    #[serde(default)]
    pub publish: Publish,
}

fn yes() -> bool {
    true
}

/// A stock image: by id, by a parameter that holds the id, or the newest of an owner by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AmiSource {
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Name of a parameter that holds its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// Pattern of its name, such as `debian-12-amd64-*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Account that owns it, or `amazon`; with `name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// What an [`AmiSource`] names, once it is known to name one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceReference<'a> {
    /// An id.
    Id(&'a str),
    /// A parameter that holds an id.
    Parameter(&'a str),
    /// The newest image whose name matches.
    Newest {
        /// Who owns it. Without one anybody could offer an image of such a name.
        owner: &'a str,
        /// Pattern of its name.
        name: &'a str,
    },
}

impl AmiSource {
    /// What it names; none if it names nothing or several things.
    pub fn reference(&self) -> Option<SourceReference<'_>> {
        match (&self.id, &self.parameter, &self.name, &self.owner) {
            (Some(id), None, None, None) => Some(SourceReference::Id(id)),
            (None, Some(parameter), None, None) => Some(SourceReference::Parameter(parameter)),
            (None, None, Some(name), Some(owner)) => Some(SourceReference::Newest { owner, name }),
            _ => None,
        }
    }
}

/// What machines run the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// 64-bit x86.
    #[default]
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Architecture {
    /// As Debian and Kubernetes call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As EC2 calls it.
    pub fn ec2_name(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// An instance type that builds quickly and exists in every region.
    pub fn builder_type(self) -> &'static str {
        match self {
            Self::Amd64 => "m7i.large",
            Self::Arm64 => "m7g.large",
        }
    }
}

/// A version of Kubernetes, with or without the revision of its packages: `1.36.3`, `v1.36.3`,
/// `1.36.3-1.1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesVersion {
    /// Such as `1.36.3`.
    pub version: String,
    /// Such as `1.1`.
    pub revision: Option<String>,
}

impl KubernetesVersion {
    /// Such as `1.36`, for which there is a package repository.
    pub fn minor(&self) -> &str {
        self.version
            .rsplit_once('.')
            .map_or(&self.version, |(minor, _)| minor)
    }

    /// The version of the packages as apt-get takes it.
    pub fn pattern(&self) -> String {
        let revision = self.revision.as_deref().unwrap_or("*");
        format!("{}-{revision}", self.version)
    }
}

impl FromStr for KubernetesVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "`{text}` is no version of Kubernetes: expected one such as `1.36.3`, `v1.36.3` or \
                 `1.36.3-1.1`"
            )
        };
        let bare = text.strip_prefix('v').unwrap_or(text);
        let (version, revision) = match bare.split_once('-') {
            Some((version, revision)) => (version, Some(revision)),
            None => (bare, None),
        };
        if revision == Some("00") {
            return Err(format!(
                "`{text}` is a version of the package repository that is gone since 2024: write \
                 `{version}`, which takes the newest revision of pkgs.k8s.io, or pin one, such as \
                 `{version}-1.1`"
            ));
        }
        let is_number =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let parts: Vec<&str> = version.split('.').collect();
        let is_version =
            parts.len() == 3 && parts[0] == "1" && parts.iter().all(|it| is_number(it));
        if !is_version || revision.is_some_and(|it| !it.split('.').all(is_number)) {
            return Err(expected());
        }
        Ok(Self {
            version: version.to_owned(),
            revision: revision.map(str::to_owned),
        })
    }
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.version)?;
        match &self.revision {
            Some(revision) => write!(formatter, "-{revision}"),
            None => Ok(()),
        }
    }
}

as_text!(KubernetesVersion);

/// A package, with or without its version, as apt-get takes it: `runc`, `runc=1.1.5*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackagePin {
    /// Its name.
    pub name: String,
    /// Its version, perhaps with a `*` at its end. Any, where none is said.
    pub version: Option<String>,
}

impl FromStr for PackagePin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = match text.split_once('=') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let is_start = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_name = 2 <= name.len()
            && name.starts_with(is_start)
            && name.chars().all(|c| is_start(c) || "+-.".contains(c));
        let is_version = version.is_none_or(|version| {
            let bare = version.strip_suffix('*').unwrap_or(version);
            !bare.is_empty()
                && bare
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || ".+-:~".contains(c))
        });
        if !is_name || !is_version {
            return Err(format!(
                "`{text}` is no package: expected NAME or NAME=VERSION, where VERSION may end with \
                 `*`"
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        })
    }
}

impl fmt::Display for PackagePin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        match &self.version {
            Some(version) => write!(formatter, "={version}"),
            None => Ok(()),
        }
    }
}

as_text!(PackagePin);

/// The packages of a node besides kubelet, kubeadm and kubectl.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AmiPackages {
    /// The container runtime.
    pub containerd: PackagePin,
    /// What it starts containers with; none where the package of containerd brings it.
    pub runc: Option<PackagePin>,
    /// The network plugins.
    pub cni_plugins: PackagePin,
    /// `crictl`; none where no repository has it.
    pub cri_tools: Option<PackagePin>,
    /// Whatever else is to be there.
    pub more: Vec<PackagePin>,
}

impl Default for AmiPackages {
    fn default() -> Self {
        let newest = |name: &str| PackagePin {
            name: name.to_owned(),
            version: None,
        };
        Self {
            containerd: newest("containerd"),
            runc: Some(newest("runc")),
            cni_plugins: newest("kubernetes-cni"),
            cri_tools: Some(newest("cri-tools")),
            more: Vec::new(),
        }
    }
}

/// A signed repository of packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Repository {
    /// Its name, which its files on the image are named after.
    pub name: String,
    /// Where it is.
    pub uri: String,
    /// The suite; `/` for one without.
    #[serde(default = "flat")]
    pub suite: String,
    /// The components; none where the suite is `/`.
    #[serde(default)]
    pub components: Vec<String>,
    /// The key that signs it.
    pub key: RepositoryKey,
}

fn flat() -> String {
    "/".to_owned()
}

/// The one key that a repository is believed by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RepositoryKey {
    /// The public key itself, in ASCII armour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Where to fetch it; with `fingerprint`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Fingerprint that the fetched key must have, 40 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// A file to fetch and the hash that it must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Download {
    /// `https://…`, or `file:///…` for one that is on the machine already.
    pub url: String,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
}

/// Container images that nodes need not pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ContainerImages {
    /// Whether those that every node needs are pulled: pause and kube-proxy.
    pub kubernetes: bool,
    /// Others to pull, by their full names.
    pub pull: Vec<String>,
    /// Archives to import.
    pub archives: Vec<ImageArchive>,
}

impl Default for ContainerImages {
    fn default() -> Self {
        Self {
            kubernetes: true,
            pull: Vec::new(),
            archives: Vec::new(),
        }
    }
}

/// An archive of container images, as `ctr images export` or `docker save` makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageArchive {
    /// Where it is.
    pub url: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// The full names of the images in it.
    pub images: Vec<String>,
}

/// The instance that builds the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Builder {
    /// Its type; one of the architecture if left out.
    pub instance_type: Option<String>,
    /// Its subnet, which must reach the repositories; the first of `spec.subnets` if left out.
    pub subnet: Option<String>,
    /// Its instance profile; `<cluster>-windlass-ami` if left out.
    pub instance_profile: Option<String>,
    /// Its volume, which becomes the image's.
    pub root_volume: RootVolume,
    /// How long it may take.
    pub timeout: GoDuration,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            instance_type: None,
            subnet: None,
            instance_profile: None,
            root_volume: RootVolume::default(),
            timeout: GoDuration(Duration::from_mins(30)),
        }
    }
}

/// Who gets the image, besides this account in this region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Publish {
    /// Copies in other regions.
    pub copies: Vec<ImageCopy>,
    /// Accounts that may launch it.
    pub accounts: Vec<String>,
    /// Parameter that its id is written to.
    pub parameter: Option<String>,
    /// Whether an instance is started from it first, which has to find it as it should be.
    pub boot_test: bool,
    /// Its age from which on EC2 says that it is deprecated.
    pub deprecate_after: Option<Days>,
}

/// A copy of the image in another region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageCopy {
    /// The region.
    pub region: String,
    /// Key there that encrypts it; the account's own for volumes if left out.
    #[serde(default)]
    pub kms_key: Option<String>,
}

impl Spec {
    /// The version of Kubernetes of the images that are built.
    pub fn ami_kubernetes(&self, ami: &Ami) -> Option<KubernetesVersion> {
        ami.kubernetes
            .clone()
            .or_else(|| self.kubernetes.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_as_people_write_them() {
        let read = |text: &str| text.parse::<KubernetesVersion>();
        for (text, pattern) in [
            ("1.36.1", "1.36.1-*"),
            ("v1.36.1", "1.36.1-*"),
            ("1.36.1-1.1", "1.36.1-1.1"),
        ] {
            let version = read(text).unwrap();
            assert_eq!(version.pattern(), pattern);
            assert_eq!(version.minor(), "1.36");
        }
        for text in ["1.36", "latest", "2.0.0", "1.36.1-", "1.36.1-rc.1", ""] {
            assert!(read(text).is_err(), "{text}");
        }
        let old = read("1.11.3-00").unwrap_err();
        assert!(
            old.contains("gone since 2024") && old.contains("`1.11.3`"),
            "{old}"
        );
    }

    #[test]
    fn packages_are_taken_as_apt_get_takes_them() {
        for text in ["runc", "containerd=1.7.*", "libc++=1:2.0~rc1-3"] {
            assert_eq!(text.parse::<PackagePin>().unwrap().to_string(), text);
        }
        for text in ["", "Runc", "runc=", "runc=*", "runc 1", "runc=1;rm", "-y"] {
            assert!(text.parse::<PackagePin>().is_err(), "{text}");
        }
    }
}
