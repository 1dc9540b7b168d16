//! The command lines of the parts, and when each is ready.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;
use windlass_parts::Parts;

use crate::certificates::Certificates;
use crate::ports::free_port;
use crate::process::Spec;

/// One of the programs that make up the test bed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The store of the API server.
    Etcd,
    /// kube-apiserver.
    ApiServer,
    /// kube-scheduler.
    Scheduler,
    /// kube-controller-manager.
    ControllerManager,
    /// kwok, which plays the kubelets.
    Kwok,
    /// moto, which plays AWS.
    Moto,
}

impl Part {
    /// In the order of their start.
    pub const ALL: [Self; 6] = [
        Self::Etcd,
        Self::Moto,
        Self::ApiServer,
        Self::Scheduler,
        Self::ControllerManager,
        Self::Kwok,
    ];

    /// What its log is named.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::Scheduler => "kube-scheduler",
            Self::ControllerManager => "kube-controller-manager",
            Self::Kwok => "kwok",
            Self::Moto => "moto",
        }
    }
}

/// Who somebody is to the API server, by a bearer token. Client certificates would not pass
/// through a proxy, tokens do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// May do everything (`system:masters`).
    Admin,
    /// The service account `kube-system/cluster-autoscaler`: may do what RBAC objects allow it.
    ClusterAutoscaler,
    /// kube-scheduler.
    Scheduler,
    /// kube-controller-manager.
    ControllerManager,
    /// kwok, as one of `system:masters`, so that it may play any kubelet.
    Kwok,
}

impl User {
    const ALL: [Self; 5] = [
        Self::Admin,
        Self::ClusterAutoscaler,
        Self::Scheduler,
        Self::ControllerManager,
        Self::Kwok,
    ];

    pub(crate) fn token(self) -> &'static str {
        match self {
            Self::Admin => "admin-token",
            Self::ClusterAutoscaler => "cluster-autoscaler-token",
            Self::Scheduler => "kube-scheduler-token",
            Self::ControllerManager => "kube-controller-manager-token",
            Self::Kwok => "kwok-token",
        }
    }

    /// The name that the audit log has.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "windlass-testbed-admin",
            Self::ClusterAutoscaler => "system:serviceaccount:kube-system:cluster-autoscaler",
            Self::Scheduler => "system:kube-scheduler",
            Self::ControllerManager => "system:kube-controller-manager",
            Self::Kwok => "windlass-testbed-kwok",
        }
    }

    /// The last column of the token file, which is left out when it is empty.
    fn groups(self) -> &'static str {
        match self {
            Self::Admin | Self::Kwok => ",\"system:masters\"",
            Self::ClusterAutoscaler => {
                ",\"system:serviceaccounts,system:serviceaccounts:kube-system\""
            }
            Self::Scheduler | Self::ControllerManager => "",
        }
    }
}

/// What is said of the API server's requests: the scheduler's verdicts with their content, other
/// changes of pods and nodes too, who changed what for the rest, and nothing of reads, save by the
/// accounts of Windlass, of which the log tells which of their rights they use.
const AUDIT_POLICY: &str = r#"apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: ["RequestReceived"]
rules:
- level: Metadata
  users: &accounts
  - system:serviceaccount:kube-system:cluster-autoscaler
  - system:serviceaccount:kube-system:windlass-csr-approver
  - system:serviceaccount:kube-system:windlass-token-rotator
  - system:serviceaccount:kube-system:windlass-verify
  verbs: ["get", "list", "watch"]
- level: Metadata
  users: *accounts
  resources:
  - group: "coordination.k8s.io"
    resources: ["leases"]
- level: None
  verbs: ["get", "list", "watch"]
- level: None
  resources:
  - group: "coordination.k8s.io"
    resources: ["leases"]
- level: Request
  resources:
  - group: ""
    resources: ["pods", "pods/status", "pods/eviction", "pods/binding", "nodes"]
- level: Metadata
"#;

/// Where everything is: paths, ports and command lines. Fixed for the life of a test bed, so that
/// a part that is restarted comes back where it was.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) directory: PathBuf,
    pub(crate) certificates: Certificates,
    pub(crate) parts: Parts,
    etcd: u16,
    etcd_peers: u16,
    api_server: u16,
    scheduler: u16,
    controller_manager: u16,
    kwok: u16,
    moto: u16,
}

impl Layout {
    /// Picks ports and writes certificates, tokens, policies and kubeconfigs.
    pub(crate) fn make(directory: &Path, parts: Parts) -> Result<Self> {
        for sub in ["logs", "pki", "etcd", "kubeconfigs"] {
            let path = directory.join(sub);
            fs::create_dir_all(&path).with_context(|| format!("create `{}`", path.display()))?;
        }
        let layout = Self {
            directory: directory.to_owned(),
            certificates: Certificates::make(&directory.join("pki"))?,
            parts,
            etcd: free_port()?,
            etcd_peers: free_port()?,
            api_server: free_port()?,
            scheduler: free_port()?,
            controller_manager: free_port()?,
            kwok: free_port()?,
            moto: free_port()?,
        };
        let tokens: Vec<String> = User::ALL
            .iter()
            .map(|user| format!("{},{2},{2}{}", user.token(), user.groups(), user.name()))
            .collect();
        write(&layout.path("tokens.csv"), &tokens.join("\n"))?;
        write(&layout.path("audit-policy.yaml"), AUDIT_POLICY)?;
        for user in User::ALL {
            layout.write_kubeconfig(user, &layout.api_url(), &layout.kubeconfig(user))?;
        }
        Ok(layout)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.path("logs/audit.log")
    }

    pub(crate) fn api_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_server)
    }

    pub(crate) fn moto_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.moto)
    }

    pub(crate) fn kubeconfig(&self, user: User) -> PathBuf {
        let name = match user {
            User::Admin => "admin",
            User::ClusterAutoscaler => "cluster-autoscaler",
            User::Scheduler => "kube-scheduler",
            User::ControllerManager => "kube-controller-manager",
            User::Kwok => "kwok",
        };
        self.path("kubeconfigs").join(name)
    }

    /// A kubeconfig for `user` at `url`, which may be a proxy's.
    pub(crate) fn write_kubeconfig(&self, user: User, url: &str, path: &Path) -> Result<()> {
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "testbed", "cluster": {
                "server": url,
                "certificate-authority": self.certificates.authority,
            }}],
            "users": [{"name": user.name(), "user": {"token": user.token()}}],
            "contexts": [{"name": "testbed", "context": {
                "cluster": "testbed", "user": user.name(),
            }}],
            "current-context": "testbed",
        });
        write(path, &serde_json::to_string_pretty(&kubeconfig)?)
    }

    /// Where a part says that it is ready.
    pub(crate) fn readiness_url(&self, part: Part) -> String {
        match part {
            Part::Etcd => format!("http://127.0.0.1:{}/health", self.etcd),
            Part::ApiServer => format!("{}/readyz", self.api_url()),
            Part::Scheduler => format!("https://127.0.0.1:{}/readyz", self.scheduler),
            Part::ControllerManager => {
                format!("https://127.0.0.1:{}/healthz", self.controller_manager)
            }
            Part::Kwok => format!("http://127.0.0.1:{}/readyz", self.kwok),
            Part::Moto => format!("{}/moto-api/", self.moto_url()),
        }
    }

    pub(crate) fn spec(&self, part: Part) -> Spec {
        match part {
            Part::Etcd => self.etcd_spec(),
            Part::ApiServer => self.api_server_spec(),
            Part::Scheduler => Spec::new(
                part.name(),
                &self.parts.scheduler,
                self.component_flags(User::Scheduler, self.scheduler),
            ),
            Part::ControllerManager => self.controller_manager_spec(),
            Part::Kwok => Spec::new(
                part.name(),
                &self.parts.kwok,
                [
                    flag("kubeconfig", self.kubeconfig(User::Kwok).display()),
                    flag("config", self.parts.kwok_stages.display()),
                    flag("server-address", format_args!("127.0.0.1:{}", self.kwok)),
                    "--manage-all-nodes=false".to_owned(),
                    "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake".to_owned(),
                ],
            ),
            Part::Moto => Spec::new(
                part.name(),
                &self.parts.moto_server,
                ["-H", "127.0.0.1", "-p", &self.moto.to_string()],
            ),
        }
    }

    fn etcd_spec(&self) -> Spec {
        let clients = format!("http://127.0.0.1:{}", self.etcd);
        let peers = format!("http://127.0.0.1:{}", self.etcd_peers);
        Spec::new(
            Part::Etcd.name(),
            &self.parts.etcd,
            [
                flag("data-dir", self.path("etcd").display()),
                flag("listen-client-urls", &clients),
                flag("advertise-client-urls", &clients),
                flag("listen-peer-urls", &peers),
                flag("initial-advertise-peer-urls", &peers),
                flag("initial-cluster", format_args!("default={peers}")),
                // The data die with the test bed: what a crash of the machine leaves is nobody's.
                "--unsafe-no-fsync".to_owned(),
            ],
        )
    }

    fn api_server_spec(&self) -> Spec {
        let pki = &self.certificates;
        Spec::new(
            Part::ApiServer.name(),
            &self.parts.api_server,
            [
                flag(
                    "etcd-servers",
                    format_args!("http://127.0.0.1:{}", self.etcd),
                ),
                flag("secure-port", self.api_server),
                flag("bind-address", "127.0.0.1"),
                flag("advertise-address", "127.0.0.1"),
                flag("endpoint-reconciler-type", "none"),
                flag("service-cluster-ip-range", "10.96.0.0/16"),
                flag("tls-cert-file", pki.server.display()),
                flag("tls-private-key-file", pki.server_key.display()),
                flag("client-ca-file", pki.authority.display()),
                flag("token-auth-file", self.path("tokens.csv").display()),
                flag("authorization-mode", "Node,RBAC"),
                flag("enable-bootstrap-token-auth", true),
                flag("service-account-issuer", "https://kubernetes.default.svc"),
                flag(
                    "service-account-key-file",
                    pki.service_account_public_key.display(),
                ),
                flag(
                    "service-account-signing-key-file",
                    pki.service_account_key.display(),
                ),
                flag(
                    "audit-policy-file",
                    self.path("audit-policy.yaml").display(),
                ),
                flag("audit-log-path", self.audit_log().display()),
                flag("allow-privileged", true),
            ],
        )
    }

    fn controller_manager_spec(&self) -> Spec {
        let pki = &self.certificates;
        let mut flags = self.component_flags(User::ControllerManager, self.controller_manager);
        flags.extend([
            // Each controller then has the rights of its own service account, as in a cluster that
            // kubeadm made; the user itself has next to none.
            flag("use-service-account-credentials", true),
            flag("controllers", "*,bootstrapsigner,tokencleaner"),
            flag(
                "service-account-private-key-file",
                pki.service_account_key.display(),
            ),
            flag("root-ca-file", pki.authority.display()),
            flag("cluster-signing-cert-file", pki.authority.display()),
            flag("cluster-signing-key-file", pki.authority_key.display()),
            // On a busy machine kwok may renew no lease for the 50 s of the default; all nodes would
            // then turn unready at once. Tests that want such a node say so.
            flag("node-monitor-grace-period", "10m"),
        ]);
        Spec::new(
            Part::ControllerManager.name(),
            &self.parts.controller_manager,
            flags,
        )
    }

    /// What scheduler and controller manager have in common.
    fn component_flags(&self, user: User, port: u16) -> Vec<String> {
        let kubeconfig = self.kubeconfig(user);
        let pki = &self.certificates;
        vec![
            flag("kubeconfig", kubeconfig.display()),
            flag("bind-address", "127.0.0.1"),
            flag("secure-port", port),
            flag("tls-cert-file", pki.server.display()),
            flag("tls-private-key-file", pki.server_key.display()),
            flag("leader-elect", false),
        ]
    }
}

fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

fn write(path: &Path, content: &str) -> Result<()> {
    fs::write(path, content).with_context(|| format!("write `{}`", path.display()))
}
