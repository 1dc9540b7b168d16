//! What an image is made of, with everything that the configuration leaves out.

use sha2::{Digest as _, Sha256};

use crate::cluster_config::{
    Ami, ClusterConfig, KubernetesVersion, PackagePin, Repository, RepositoryKey,
};

/// Key of pkgs.k8s.io, the same for every minor version.
const KUBERNETES_KEY: &str = "DE15B14486CD377B9E876E1A234654DA9A296436";

/// What a node needs of its distribution, whatever the configuration says.
const DISTRIBUTION: [&str; 14] = [
    "auditd",
    "ca-certificates",
    "chrony",
    "conntrack",
    "curl",
    "ebtables",
    "ethtool",
    "iproute2",
    "iptables",
    "jq",
    "kmod",
    "nftables",
    "procps",
    "socat",
];

/// What an image is made of.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Name of the cluster.
    pub cluster: String,
    /// The version of Kubernetes.
    pub kubernetes: KubernetesVersion,
    /// The configuration's part.
    pub ami: Ami,
    /// The repositories, Kubernetes' own if none is named.
    pub repositories: Vec<Repository>,
}

/// Why there is no recipe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// The file has no `spec.ami`.
    #[error(
        "the configuration has no `spec.ami`, which says what images are built from: see \
         examples/cluster.yaml"
    )]
    NoAmi,
    /// No version of Kubernetes is named.
    #[error("neither spec.ami.kubernetes nor spec.kubernetes is a version of Kubernetes")]
    NoVersion,
}

impl Recipe {
    /// The recipe of a configuration.
    ///
    /// # Errors
    ///
    /// When it has none.
    pub fn of(config: &ClusterConfig) -> Result<Self, RecipeError> {
        let spec = &config.spec;
        let ami = spec.ami.clone().ok_or(RecipeError::NoAmi)?;
        let kubernetes = spec.ami_kubernetes(&ami).ok_or(RecipeError::NoVersion)?;
        let repositories = ami
            .repositories
            .clone()
            .unwrap_or_else(|| vec![kubernetes_repository(&kubernetes)]);
        Ok(Self {
            cluster: spec.cluster.clone(),
            kubernetes,
            ami,
            repositories,
        })
    }

    /// All packages that are installed, pinned and held.
    pub fn pinned_packages(&self) -> Vec<PackagePin> {
        let packages = &self.ami.packages;
        let kubernetes = ["kubeadm", "kubectl", "kubelet"].map(|name| PackagePin {
            name: name.to_owned(),
            version: Some(self.kubernetes.pattern()),
        });
        let mut pins = vec![packages.containerd.clone()];
        pins.extend(packages.runc.clone());
        pins.push(packages.cni_plugins.clone());
        pins.extend(packages.cri_tools.clone());
        pins.extend(kubernetes);
        pins.extend(packages.more.iter().cloned());
        pins
    }

    /// The packages of the distribution that are installed and left to it.
    pub fn distribution_packages(&self) -> Vec<&'static str> {
        let pinned = self.pinned_packages();
        DISTRIBUTION
            .into_iter()
            .filter(|name| pinned.iter().all(|pin| pin.name != *name))
            .collect()
    }

    /// Names this recipe: another word for another content of the script.
    pub fn hash(&self) -> String {
        sha256(self.script_body().as_bytes())[..12].to_owned()
    }

    /// Name of the image.
    pub fn image_name(&self) -> String {
        format!(
            "windlass-{}-v{}-{}-{}",
            self.cluster,
            self.kubernetes.version,
            self.ami.architecture.name(),
            self.hash()
        )
    }
}

/// The repository of a minor version of Kubernetes.
fn kubernetes_repository(version: &KubernetesVersion) -> Repository {
    let uri = format!(
        "https://pkgs.k8s.io/core:/stable:/v{}/deb/",
        version.minor()
    );
    Repository {
        name: "kubernetes".to_owned(),
        key: RepositoryKey {
            text: None,
            url: Some(format!("{uri}Release.key")),
            fingerprint: Some(KUBERNETES_KEY.to_owned()),
        },
        uri,
        suite: "/".to_owned(),
        components: Vec::new(),
    }
}

/// SHA-256 in lower-case hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
