//! The test bed as a whole: start, the parts one by one, the end.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use tokio::runtime::Runtime;
use windlass_parts::Parts;

use crate::audit::{self, AuditRecord, RightsUsed};
use crate::aws::Aws;
use crate::cluster::Cluster;
use crate::control_plane::{Layout, Part, User};
use crate::http::{self, HttpClient};
use crate::joiner::Joiner;
use crate::ports;
use crate::process::{Process, Spawner, Spec, describe, processes_of};
use crate::proxy::Proxy;

/// Longest time from the start of a part to its readiness. The API server takes about ten seconds
/// on two idle cores.
const READY: Duration = Duration::from_mins(4);

/// How a test bed is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time from the launch of an instance to the creation of its Node, where a test has not said
    /// otherwise for the group ([`Joiner::set_boot`]).
    pub boot_time: Duration,
    /// The directory of state and logs; a new one under the system's temporary directory if none
    /// is named.
    pub directory: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            boot_time: Duration::from_secs(1),
            directory: None,
        }
    }
}

/// The running parts. Dropping it ends them and leaves the logs; [`Testbed::end`] ends them and
/// leaves nothing.
#[derive(Debug)]
pub struct Testbed {
    // In the order in which they are to be dropped: who talks before who is talked to.
    joiner: Joiner,
    cluster: Cluster,
    aws: Aws,
    processes: Mutex<BTreeMap<Part, Process>>,
    http: HttpClient,
    runtime: Runtime,
    spawner: Spawner,
    layout: Layout,
}

/// The test bed that all tests of one process share; started at the first call.
///
/// It is never dropped: the parts end with the process, and the logs stay until the next one starts.
/// A test begins with [`Testbed::clear`].
///
/// # Panics
///
/// When the test bed does not start: no test of the process can then say anything.
pub fn shared() -> &'static Testbed {
    static SHARED: OnceLock<Testbed> = OnceLock::new();
    SHARED.get_or_init(|| match Testbed::start(Options::default()) {
        Ok(testbed) => testbed,
        Err(error) => panic!("the test bed does not start: {error:#}"),
    })
}

impl Testbed {
    /// Starts the parts and waits until each is ready.
    pub fn start(options: Options) -> Result<Self> {
        // Once per process; whoever comes second finds the same provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let parts = Parts::ensure(&mut say)?;
        let directory = match options.directory {
            Some(directory) => directory,
            None => new_directory()?,
        };
        fs::create_dir_all(&directory)
            .with_context(|| format!("create `{}`", directory.display()))?;
        let spawner = Spawner::new(&directory)?;
        say(&format!("logs in `{}`", directory.join("logs").display()));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("start the runtime")?;

        let layout = Layout::make(&directory, parts)?;
        let http = http::client(&layout.certificates.authority)?;
        let aws = Aws::new(&layout.moto_url(), http.clone(), runtime.handle().clone());
        let mut processes = BTreeMap::new();
        for part in Part::ALL {
            processes.insert(part, spawner.spawn(layout.spec(part))?);
            // Scheduler, controllers and kwok give up when the API server is not there.
            if part == Part::ApiServer {
                for first in [Part::Etcd, Part::Moto, Part::ApiServer] {
                    wait_until_ready(&runtime, &http, &layout, first, &mut processes)?;
                }
            }
        }
        let warm_up = {
            let aws = aws.clone();
            runtime.spawn(async move { aws.warm_up().await })
        };
        for part in [Part::Scheduler, Part::ControllerManager, Part::Kwok] {
            wait_until_ready(&runtime, &http, &layout, part, &mut processes)?;
        }

        let cluster = {
            let _guard = runtime.enter();
            Cluster::connect(&layout.kubeconfig(User::Admin), runtime.handle().clone())?
        };
        runtime.block_on(warm_up).context("warm moto up")??;
        cluster.wait_for_default_service_account(READY)?;
        let joiner = Joiner::start(&aws, &cluster, options.boot_time, runtime.handle());
        Ok(Self {
            joiner,
            cluster,
            aws,
            processes: Mutex::new(processes),
            http,
            runtime,
            spawner,
            layout,
        })
    }

    /// The API server, as administrator.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// moto: groups and instances.
    pub fn aws(&self) -> &Aws {
        &self.aws
    }

    /// Who turns instances into Nodes.
    pub fn joiner(&self) -> &Joiner {
        &self.joiner
    }

    /// `https://127.0.0.1:PORT` of the API server.
    pub fn api_url(&self) -> String {
        self.layout.api_url()
    }

    /// `http://127.0.0.1:PORT` of moto: what `AWS_ENDPOINT_URL` is to be.
    pub fn moto_url(&self) -> String {
        self.layout.moto_url()
    }

    /// The environment in which an AWS SDK talks to `endpoint`: [`Self::moto_url`] or a proxy.
    pub fn aws_environment(endpoint: &str) -> Vec<(String, String)> {
        crate::aws::environment(endpoint)
    }

    /// A kubeconfig for `user`, straight to the API server.
    pub fn kubeconfig(&self, user: User) -> PathBuf {
        self.layout.kubeconfig(user)
    }

    /// A kubeconfig for `user` that goes through `proxy`.
    pub fn kubeconfig_through(&self, user: User, proxy: &Proxy) -> Result<PathBuf> {
        let path = self
            .layout
            .kubeconfig(user)
            .with_extension(proxy.port().to_string());
        self.layout.write_kubeconfig(user, proxy.url(), &path)?;
        Ok(path)
    }

    /// The directory of state and logs.
    pub fn directory(&self) -> &Path {
        &self.layout.directory
    }

    /// The logs of all parts, `NAME.log`, and of what [`Self::spawn`] started.
    pub fn log_directory(&self) -> PathBuf {
        self.layout.directory.join("logs")
    }

    /// The API server's audit log, one JSON object a line.
    pub fn audit_log(&self) -> PathBuf {
        self.layout.audit_log()
    }

    /// The records of the audit log whose request came at or after `since`.
    pub fn audit(&self, since: Timestamp) -> Result<Vec<AuditRecord>> {
        audit::read(&self.audit_log(), since)
    }

    /// What one of Windlass's service accounts (by its whole name, `system:serviceaccount:…`) has
    /// asked for since then, reads included, by the audit log.
    pub fn rights_used(&self, since: Timestamp, user: &str) -> Result<RightsUsed> {
        audit::rights(&self.audit_log(), since, user)
    }

    /// `leaderelect`, client-go's leader election as a program.
    pub fn leaderelect(&self) -> PathBuf {
        self.layout.parts.leaderelect.clone()
    }

    /// A recording and fault-injecting proxy before the API server.
    pub fn proxy_api_server(&self) -> Result<Proxy> {
        let handle = self.runtime.handle();
        Proxy::with_tls(
            &self.api_url(),
            &self.layout.certificates,
            self.http.clone(),
            handle,
        )
    }

    /// A recording and fault-injecting proxy before moto.
    pub fn proxy_aws(&self) -> Result<Proxy> {
        self.proxy_before(&self.moto_url())
    }

    /// The same before moto or another proxy that is before it.
    pub fn proxy_before(&self, aws: &str) -> Result<Proxy> {
        Proxy::plain(aws, self.http.clone(), self.runtime.handle())
    }

    /// The same with what AWS does and moto does not: [`Proxy::faults`] says what goes wrong.
    pub fn faulty_aws(&self) -> Result<Proxy> {
        Proxy::faulty(&self.moto_url(), self.http.clone(), self.runtime.handle())
    }

    /// The API server through `proxy`, as administrator.
    pub fn cluster_through(&self, proxy: &Proxy) -> Result<Cluster> {
        let kubeconfig = self.kubeconfig_through(User::Admin, proxy)?;
        let _guard = self.runtime.enter();
        Cluster::connect(&kubeconfig, self.runtime.handle().clone())
    }

    /// A port of 127.0.0.1 on which nobody listens.
    pub fn free_port(&self) -> Result<u16> {
        ports::free_port()
    }

    /// Status and body of a GET.
    pub fn http_get(&self, url: &str) -> Result<(u16, String)> {
        self.runtime.block_on(http::get(&self.http, url))
    }

    /// Runs a future to its end; not to be called from one.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Starts a program of the test's own, that ends with the test bed at the latest. Its output
    /// goes to `NAME.log`.
    pub fn spawn(&self, spec: Spec) -> Result<Process> {
        self.spawner.spawn(spec)
    }

    /// Ends a part; the others go on.
    pub fn stop(&self, part: Part) {
        if let Some(process) = self.processes().get_mut(&part) {
            process.stop();
        }
    }

    /// Kills a part with SIGKILL; the others go on.
    pub fn kill(&self, part: Part) {
        if let Some(process) = self.processes().get_mut(&part) {
            process.kill();
        }
    }

    /// Starts a part again, at the same port and with what it has stored (moto stores nothing),
    /// and waits until it is ready.
    pub fn restart(&self, part: Part) -> Result<()> {
        let mut processes = self.processes();
        if let Some(process) = processes.get_mut(&part) {
            process.restart()?;
        }
        wait_until_ready(
            &self.runtime,
            &self.http,
            &self.layout,
            part,
            &mut processes,
        )
    }

    /// The process ids of the parts that run.
    pub fn process_ids(&self) -> BTreeMap<Part, u32> {
        let mut processes = self.processes();
        processes
            .iter_mut()
            .filter_map(|(part, process)| {
                process
                    .exit_status()
                    .is_none()
                    .then(|| (*part, process.id()))
            })
            .collect()
    }

    /// Removes what tests have made: workloads, groups, instances and Nodes, and the objects that
    /// an autoscaler leaves behind. For the begin of a test on a [`shared`] test bed.
    pub fn clear(&self) -> Result<()> {
        self.aws.reset()?;
        self.joiner.forget_boots();
        // A round that read the groups before the reset could still make a Node.
        self.joiner.wait_for_a_round(READY)?;
        self.cluster.clear()
    }

    /// Ends everything and removes the directory, logs included. Fails if a process is left.
    pub fn end(self) -> Result<()> {
        let directory = self.directory().to_owned();
        self.spawner.reaper().remove_directory()?;
        drop(self);
        let left = processes_of(&directory);
        if !left.is_empty() {
            bail!("processes of the test bed are left: {left:?}");
        }
        Ok(())
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<Part, Process>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        self.joiner.stop();
        let mut processes = self.processes();
        for part in Part::ALL.iter().rev() {
            processes.remove(part);
        }
        drop(processes);
        // Ends what tests have spawned and not ended, and removes what is not a log.
        self.spawner.reaper().dismiss();
    }
}

fn wait_until_ready(
    runtime: &Runtime,
    http: &HttpClient,
    layout: &Layout,
    part: Part,
    processes: &mut BTreeMap<Part, Process>,
) -> Result<()> {
    let url = layout.readiness_url(part);
    let begun = Instant::now();
    loop {
        if runtime.block_on(http::is_ok(http, &url)) {
            return Ok(());
        }
        let trouble = match processes.get_mut(&part).map(Process::exit_status) {
            Some(Some(status)) => describe(status),
            _ if READY <= begun.elapsed() => format!("was not ready in {READY:?}"),
            _ => {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        let log = processes.get(&part).map(Process::log).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(20).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        bail!(
            "{} {trouble}; the end of its log:\n{}",
            part.name(),
            tail.join("\n")
        );
    }
}

/// Directories under the system's temporary one, by the id of the process that made them.
const DIRECTORIES: &str = "windlass-testbed-";

fn new_directory() -> Result<PathBuf> {
    let base = std::env::temp_dir();
    remove_logs_of_the_dead(&base);
    for attempt in 0..1000 {
        let path = base.join(format!("{DIRECTORIES}{}-{attempt}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).context(format!("create `{}`", path.display())),
        }
    }
    bail!("`{}` is full of old test beds", base.display())
}

/// Logs are kept for whoever looks after a run; what earlier runs have left is not looked at any
/// more.
fn remove_logs_of_the_dead(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| {
            name.strip_prefix(DIRECTORIES)?
                .split('-')
                .next()?
                .parse::<u32>()
                .ok()
        });
        let is_dead = process.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists());
        if is_dead && processes_of(&entry.path()).is_empty() {
            // Another user's, perhaps.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[expect(clippy::print_stderr, reason = "the build of the parts takes minutes")]
fn say(line: &str) {
    eprintln!("testbed: {line}");
}
