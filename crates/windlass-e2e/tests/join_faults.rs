//! What `windlass join` makes of each call that goes wrong: how it ends, with which words, and what
//! the instance's group is told. kubeadm, the kubelet and systemctl are stubs here, so that they can
//! be made to fail; the suite `join` has the real ones.
//!
//! The matrix, call by fault; a name without a suite is a case below.
//!
//! | call | refused, or no answer | 5xx, throttled | denied | garbage or absent | slow | dies after success |
//! |---|---|---|---|---|---|---|
//! | metadata | `no-metadata`, `late-metadata` | the client's own retries | version 1 is never asked (join: `metadata_without_a_session…`) | `no-instance-id`, `no-region` | the client's own timeouts | nothing is changed by it |
//! | `GetParameter` | `ssm-drops` | `ssm-fails`, `ssm-throttles` | `ssm-denies` | `ssm-garbage`, `garbage-document`, `no-document`, `later-version`, `other-cluster`; expired: join: `an_expired_token…` | `ssm-slow`, `ssm-hangs` | `ssm-drops` |
//! | API server | `no-api-server`; join: `an_api_server_that_is_down…` | kubeadm's own retries | join: `an_instance_that_is_not_ours…` | join: `another_authority…` | kubeadm's own deadline | join: `a_join_that_is_killed…` |
//! | kubeadm | `no-kubeadm` | `kubeadm-fails-once` | | `kubeadm-mumbles`, `old-kubelet` | `kubeadm-hangs` | `kubeadm-fails-once` |
//! | `DescribeTags` | | `tags-throttle` | `tags-deny` | `tags-promise` | | nothing is changed by it |
//! | own disks | `no-disks`, `one-disk` | | | `two-disks` | | |
//! | own commands | `pre-join-fails`, `post-join-fails` | | | `pre-join-mumbles` | `pre-join-hangs` | |
//! | Node | join: `without_a_network…` | | | | `never-ready` | |
//! | `SetInstanceHealth` | `health-drops` | `health-fails` | `health-denies` | | | `health-drops` |
//! | `CompleteLifecycleAction` | `hook-drops` | `hook-throttles` | `hook-denies` | | | `hook-drops` |
//! | `RecordLifecycleActionHeartbeat` | `heart-drops` | `heart-drops` | `heart-denies` | | | `heart-drops` |
//!
//! Together the cases call all that a worker node's policy grants, and nothing else.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use windlass_e2e::{
    Credential, Imds, Instance, Tool, called, check_exactly, check_what_was_said, files_with,
    granted, joinable_testbed, ssm_error,
};
use windlass_provision::iam::Actor;
use windlass_testbed::proxy::{Act, Matcher};
use windlass_testbed::{Proxy, Testbed};

/// An instance that is to join, of which everything but AWS and the API server is made up.
struct Rig {
    testbed: &'static Testbed,
    root: PathBuf,
    imds: Imds,
    aws: Proxy,
    credential: Credential,
    secret: String,
    config: Value,
    variables: Vec<(String, String)>,
    /// A file that a test has written the secret to itself.
    forgiven: Option<PathBuf>,
}

/// What the group is told of the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Unhealthy,
    /// To continue the launch, or to abandon it.
    Hook(&'static str),
}

struct Case {
    name: &'static str,
    arrange: fn(&mut Rig) -> Result<()>,
    code: i32,
    words: &'static [&'static str],
    told: Told,
}

const GET: &str = "GetParameter";
const HEALTH: &str = "SetInstanceHealth";
const INSTANCE_STORAGE: &str = "Amazon EC2 NVMe Instance Storage";
const TAGS: &str = "DescribeTags";
const HOOK: &str = "CompleteLifecycleAction";
const HEARTBEAT: &str = "RecordLifecycleActionHeartbeat";

const CASES: &[Case] = &[
    joined("nothing", |_| Ok(())),
    Case {
        name: "no-metadata",
        arrange: |rig| {
            let port = rig.testbed.free_port()?;
            rig.set(
                "AWS_EC2_METADATA_SERVICE_ENDPOINT",
                &format!("http://127.0.0.1:{port}"),
            );
            rig.config["budget"] = json!("3s");
            Ok(())
        },
        code: 16,
        words: &["phase=identity", "instance-id"],
        told: Told::Nothing,
    },
    joined("late-metadata", |rig| {
        rig.imds.stay_silent(2);
        Ok(())
    }),
    Case {
        name: "no-instance-id",
        arrange: |rig| {
            rig.imds.set("instance-id", None);
            Ok(())
        },
        code: 10,
        words: &["phase=identity", "instance id"],
        told: Told::Nothing,
    },
    Case {
        name: "no-region",
        arrange: |rig| {
            rig.imds.set("placement/region", None);
            Ok(())
        },
        code: 10,
        words: &["phase=identity", "region"],
        told: Told::Nothing,
    },
    joined("ssm-drops", |rig| {
        rig.fault(GET, Act::DropBeforeAnswering, 2);
        Ok(())
    }),
    joined("ssm-fails", |rig| {
        rig.fault(GET, Act::aws_error(503, "ServiceUnavailable"), 2);
        Ok(())
    }),
    joined("ssm-throttles", |rig| {
        rig.fault(GET, ssm_error("ThrottlingException"), 3);
        Ok(())
    }),
    joined("ssm-slow", |rig| {
        rig.fault(GET, Act::Delay(Duration::from_secs(3)), 1);
        Ok(())
    }),
    Case {
        name: "ssm-hangs",
        arrange: |rig| {
            rig.aws
                .on(Matcher::action(GET), Act::Delay(Duration::from_mins(5)));
            rig.config["budget"] = json!("6s");
            Ok(())
        },
        code: 16,
        // The time that is left ends the call, not the client's own limit, which is longer.
        words: &["phase=credentials", "no answer in time"],
        told: Told::Unhealthy,
    },
    Case {
        name: "ssm-denies",
        arrange: |rig| {
            rig.aws
                .on(Matcher::action(GET), ssm_error("AccessDeniedException"));
            Ok(())
        },
        code: 12,
        words: &["phase=credentials", "ssm:GetParameter", "kms:Decrypt"],
        told: Told::Unhealthy,
    },
    Case {
        name: "ssm-garbage",
        arrange: |rig| {
            let page = Act::Answer {
                status: 200,
                content_type: "text/html".to_owned(),
                body: "<html>log in here".to_owned(),
            };
            rig.aws.on(Matcher::action(GET), page);
            rig.config["budget"] = json!("3s");
            Ok(())
        },
        code: 16,
        words: &["phase=credentials", "cannot read parameter"],
        told: Told::Unhealthy,
    },
    Case {
        name: "garbage-document",
        arrange: |rig| {
            rig.config["budget"] = json!("3s");
            rig.credential.overwrite("garbage")
        },
        code: 16,
        words: &[
            "phase=credentials",
            "parameter /windlass/garbage-document/join",
        ],
        told: Told::Unhealthy,
    },
    Case {
        name: "no-document",
        arrange: |rig| {
            rig.config["budget"] = json!("3s");
            rig.credential.forget()
        },
        code: 16,
        words: &["phase=credentials", "there is no parameter"],
        told: Told::Unhealthy,
    },
    Case {
        name: "later-version",
        arrange: |rig| rig.credential.overwrite(r#"{"v":2}"#),
        code: 12,
        words: &["phase=credentials", "version is 2"],
        told: Told::Unhealthy,
    },
    Case {
        name: "other-cluster",
        arrange: |rig| {
            let mut document = rig.credential.published()?.document;
            document["cluster"] = json!("staging");
            rig.credential.overwrite(&document.to_string())
        },
        code: 12,
        words: &["phase=credentials", "is for cluster staging"],
        told: Told::Unhealthy,
    },
    Case {
        name: "no-api-server",
        arrange: |rig| {
            let mut document = rig.credential.published()?.document;
            document["endpoint"] = json!(format!("127.0.0.1:{}", rig.testbed.free_port()?));
            rig.config["budget"] = json!("3s");
            rig.credential.overwrite(&document.to_string())
        },
        code: 16,
        words: &["phase=kubeadm", "cannot reach the API server"],
        told: Told::Unhealthy,
    },
    Case {
        name: "no-kubeadm",
        arrange: |rig| {
            rig.set("WINDLASS_KUBEADM", "/nowhere/kubeadm");
            Ok(())
        },
        code: 11,
        words: &["phase=preflight", "/nowhere/kubeadm"],
        told: Told::Unhealthy,
    },
    Case {
        name: "kubeadm-mumbles",
        arrange: |rig| rig.program("kubeadm", "echo who knows"),
        code: 11,
        words: &["phase=preflight", "tells no version"],
        told: Told::Unhealthy,
    },
    Case {
        name: "old-kubelet",
        arrange: |rig| rig.program("kubelet", "echo Kubernetes v1.32.0"),
        code: 11,
        words: &["phase=configure", "1.32"],
        told: Told::Unhealthy,
    },
    joined("kubeadm-fails-once", |rig| {
        let flag = rig.root.join("failed-once");
        let flag = flag.display();
        rig.program(
            "kubeadm",
            &format!(
                "case $1 in version) echo v1.36.3; exit ;; esac\n\
                 echo \"$*\" >>{flag}.calls\n\
                 if [ $1 = join ] && [ ! -e {flag} ]; then\n\
                   touch {flag}; echo 'error: by the test' >&2; exit 1\nfi"
            ),
        )
    }),
    Case {
        name: "kubeadm-hangs",
        arrange: |rig| {
            rig.config["budget"] = json!("4s");
            rig.program(
                "kubeadm",
                "case $1 in version) echo v1.36.3 ;; join) sleep 300 & wait ;; esac",
            )
        },
        code: 16,
        words: &["phase=kubeadm", "had not ended"],
        told: Told::Unhealthy,
    },
    Case {
        name: "no-overlay",
        arrange: |rig| {
            fs::create_dir_all(rig.root.join("proc"))?;
            fs::write(rig.root.join("proc/filesystems"), "nodev\tproc\n\text4\n")?;
            rig.config["ignorePreflightErrors"] = json!(["CRI", "Disk"]);
            Ok(())
        },
        code: 11,
        words: &["phase=preflight", "overlay", "KernelModules"],
        told: Told::Unhealthy,
    },
    Case {
        name: "pre-join-fails",
        arrange: |rig| {
            rig.config["preJoin"] =
                json!([{"run": "echo 'error: no disk' >&2; false", "required": true}]);
            rig.program("kubeadm", "exit 99")
        },
        code: 11,
        words: &["phase=pre-join", "no disk"],
        told: Told::Unhealthy,
    },
    Case {
        name: "pre-join-hangs",
        arrange: |rig| {
            rig.config["preJoin"] =
                json!([{"run": "# waits\nsleep 300 & wait", "timeout": "1s", "required": true}]);
            Ok(())
        },
        code: 11,
        words: &[
            "phase=pre-join",
            "`sleep 300 & wait` had not ended after 1 s",
        ],
        told: Told::Unhealthy,
    },
    // Neither a command that may fail, nor one that says the token, is in the way.
    joined("pre-join-mumbles", |rig| {
        rig.config["preJoin"] = json!([{"run": "false"}, {"run": "echo fine"}]);
        rig.config["postJoin"] = json!([{"run": format!("echo {}; exit 3", rig.secret)}]);
        // It is the operator who would have written it there.
        rig.forgive("etc/windlass/node.yaml");
        Ok(())
    }),
    Case {
        name: "post-join-fails",
        arrange: |rig| {
            rig.config["postJoin"] = json!([{"run": "exit 3", "required": true}]);
            Ok(())
        },
        code: 15,
        words: &["phase=post-join", "`exit 3`: exit status: 3"],
        told: Told::Unhealthy,
    },
    joined("no-disks", |rig| {
        rig.disk("nvme0n1", "Amazon Elastic Block Store")?;
        rig.config["localDisks"] = json!("raid0");
        // Nothing is stopped for disks that are not there.
        rig.program("systemctl", "exit 1")
    }),
    joined("one-disk", |rig| {
        rig.disk("nvme0n1", "Amazon Elastic Block Store")?;
        rig.disk("nvme1n1", INSTANCE_STORAGE)?;
        rig.config["localDisks"] = json!("raid0");
        // An image that the machine image has brought is kept.
        fs::create_dir_all(rig.root.join("var/lib/containerd"))?;
        fs::write(rig.root.join("var/lib/containerd/image"), "layers")?;
        // Only a file system that can be read may be mounted; there is no systemd to do it.
        rig.program("systemctl", "[ $# = 2 ] && [ $1 = start ] && [ $2 = mnt-windlass.mount ] && \
             { [ \"$(blkid -c /dev/null -o value -s LABEL ${0%/bin/*}/dev/nvme1n1)\" = windlass-disks ] || exit 1; }\n\
             echo \"$*\" >>${0%/bin/*}/systemctl.calls")
    }),
    Case {
        name: "two-disks",
        arrange: |rig| {
            rig.disk("nvme1n1", INSTANCE_STORAGE)?;
            rig.disk("nvme2n1", INSTANCE_STORAGE)?;
            rig.config["localDisks"] = json!("raid0");
            // No array can be made of files: what is shown is the call, and what comes of one that fails.
            let words = "--create /dev/md/windlass --run --force --level=0 --raid-devices 2";
            rig.program(
                "mdadm",
                &format!(
                    "case \"$*\" in '{words} '*/dev/nvme1n1' '*/dev/nvme2n1) \
                 echo 'mdadm: failed by the test' >&2 ;; esac; exit 1"
                ),
            )
        },
        code: 11,
        words: &[
            "phase=configure",
            "local disks: mdadm: mdadm: failed by the test",
        ],
        told: Told::Unhealthy,
    },
    joined("tags-promise", |rig| {
        rig.tags(&[
            ("label/team", "web"),
            ("label/tier", "promised"),
            ("label/node-role.kubernetes.io/web", ""),
            ("taint/dedicated", "web:NoSchedule"),
        ]);
        rig.config["labels"] = json!({"tier": "configured"});
        let words = ["team=web", "tier=configured", "\"dedicated\""];
        rig.kubeadm_is_told(&words, &["promised", "node-role"])
    }),
    joined("tags-throttle", |rig| {
        rig.tags(&[("label/team", "web")]);
        rig.fault(TAGS, Act::aws_error(400, "Throttling"), 2);
        rig.kubeadm_is_told(&["team=web"], &[])
    }),
    Case {
        name: "tags-deny",
        arrange: |rig| {
            rig.tags(&[]);
            rig.fault(TAGS, Act::aws_error(403, "AccessDenied"), 1);
            Ok(())
        },
        code: 11,
        words: &[
            "phase=configure",
            "autoscaling:DescribeTags",
            "group workers",
        ],
        told: Told::Unhealthy,
    },
    Case {
        name: "never-ready",
        arrange: |rig| {
            rig.set("SKIP", "already-joined");
            rig.config["readyTimeout"] = json!("3s");
            Ok(())
        },
        code: 15,
        words: &["phase=ready", "was not ready in 3 s"],
        told: Told::Unhealthy,
    },
    failed_and_told("health-drops", |rig| {
        rig.fault(HEALTH, Act::DropBeforeAnswering, 1);
        rig.credential.overwrite(r#"{"v":2}"#)
    }),
    failed_and_told("health-fails", |rig| {
        rig.fault(HEALTH, Act::aws_error(503, "ServiceUnavailable"), 2);
        rig.credential.overwrite(r#"{"v":2}"#)
    }),
    // The join's own reason stays the reason.
    failed_and_told("health-denies", |rig| {
        rig.fault(HEALTH, Act::aws_error(403, "AccessDenied"), 1);
        rig.credential.overwrite(r#"{"v":2}"#)
    }),
    with_hook("hook-drops", |rig| {
        rig.hook();
        rig.fault(HOOK, Act::DropBeforeAnswering, 1);
        Ok(())
    }),
    with_hook("hook-throttles", |rig| {
        rig.hook();
        rig.fault(HOOK, Act::aws_error(400, "Throttling"), 2);
        Ok(())
    }),
    with_hook("hook-denies", |rig| {
        rig.hook();
        rig.fault(HOOK, Act::aws_error(403, "AccessDenied"), 1);
        Ok(())
    }),
    // A join that takes longer than the minute after which the hook is told that it is at work.
    with_hook("heart-drops", |rig| {
        rig.hook();
        rig.fault(HEARTBEAT, Act::DropBeforeAnswering, 1);
        rig.takes_longer_than_a_heartbeat()
    }),
    with_hook("heart-denies", |rig| {
        rig.hook();
        rig.fault(HEARTBEAT, Act::aws_error(403, "AccessDenied"), 1);
        rig.takes_longer_than_a_heartbeat()
    }),
];

const fn joined(name: &'static str, arrange: fn(&mut Rig) -> Result<()>) -> Case {
    Case {
        name,
        arrange,
        code: 0,
        words: &["result=joined"],
        told: Told::Nothing,
    }
}

const fn failed_and_told(name: &'static str, arrange: fn(&mut Rig) -> Result<()>) -> Case {
    Case {
        name,
        arrange,
        code: 12,
        words: &["phase=credentials", "version is 2"],
        told: Told::Unhealthy,
    }
}

const fn with_hook(name: &'static str, arrange: fn(&mut Rig) -> Result<()>) -> Case {
    Case {
        name,
        arrange,
        code: 0,
        words: &["result=joined"],
        told: Told::Hook("CONTINUE"),
    }
}

impl Rig {
    fn new(testbed: &'static Testbed, name: &str) -> Result<Self> {
        let root = testbed.directory().join(format!("rig-{name}"));
        fs::create_dir_all(root.join("etc/windlass"))?;
        fs::create_dir_all(root.join("bin"))?;
        let imds = Imds::start(&Instance {
            id: "i-0123456789abcdef0".to_owned(),
            zone: "us-east-1a".to_owned(),
            host_name: format!("{name}.ec2.internal"),
            address: "10.0.0.9".to_owned(),
        })?;
        let aws = testbed.proxy_aws()?;
        let credential = Credential::of(testbed, name);
        credential.rotate(&Tool::of(testbed), &[])?.expect(0)?;
        let published = credential.published()?;
        let mut variables = Testbed::aws_environment(aws.url());
        let path = format!(
            "{}:/usr/bin:/bin:/usr/sbin:/sbin",
            root.join("bin").display()
        );
        let kubeadm = root.join("bin/kubeadm").display().to_string();
        let systemctl = root.join("bin/systemctl").display().to_string();
        for (name, value) in [
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.url()),
            ("PATH", path),
            ("WINDLASS_ROOT", root.display().to_string()),
            ("WINDLASS_KUBEADM", kubeadm),
            ("WINDLASS_SYSTEMCTL", systemctl),
            ("WINDLASS_LOG", "debug".to_owned()),
            ("SKIP", "already-joined,ready".to_owned()),
        ] {
            variables.retain(|(known, _)| known != name);
            variables.push((name.to_owned(), value));
        }
        let rig = Self {
            testbed,
            imds,
            aws,
            secret: published.secret().to_owned(),
            config: json!({
                "apiVersion": "windlass.dev/v1alpha1", "kind": "Node", "cluster": name,
                "nodeGroup": "workers", "ignorePreflightErrors": ["all"], "budget": "1m",
            }),
            credential,
            root,
            variables,
            forgiven: None,
        };
        // moto has no lifecycle actions, and no instance of this id.
        for action in [HOOK, HEALTH, HEARTBEAT] {
            rig.aws.on(Matcher::action(action), done(action));
        }
        rig.program("kubeadm", "case $1 in version) echo v1.36.3 ;; esac")?;
        rig.program("kubelet", "echo Kubernetes v1.36.3")?;
        rig.program("systemctl", ":")?;
        Ok(rig)
    }

    fn program(&self, name: &str, script: &str) -> Result<()> {
        let path = self.root.join("bin").join(name);
        fs::write(&path, format!("#!/bin/bash\n{script}\n"))?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    fn fault(&self, action: &str, act: Act, times: usize) {
        self.aws.on(Matcher::action(action), act).times(times);
    }

    /// Gives the machine a disk, whose device is a file.
    fn disk(&self, name: &str, model: &str) -> Result<()> {
        let of_kernel = self.root.join("sys/block").join(name).join("device");
        fs::create_dir_all(&of_kernel)?;
        fs::write(of_kernel.join("model"), format!("{model:40}\n"))?;
        fs::create_dir_all(self.root.join("dev"))?;
        let device = fs::File::create(self.root.join("dev").join(name))?;
        Ok(device.set_len(64 << 20)?)
    }

    fn forgive(&mut self, file: &str) {
        self.forgiven = Some(self.root.join(file));
    }

    /// Has labels and taints taken from the group's tags, which are these.
    fn tags(&mut self, tags: &[(&str, &str)]) {
        self.config["labelsFrom"] = json!("asg-tags");
        let member = |(key, value): &(&str, &str)| {
            format!(
                "<member><Key>k8s.io/cluster-autoscaler/node-template/{key}</Key>\
                 <Value>{value}</Value><PropagateAtLaunch>false</PropagateAtLaunch></member>"
            )
        };
        let members: String = tags.iter().map(member).collect();
        let answer = Act::Answer {
            status: 200,
            content_type: "text/xml".to_owned(),
            body: format!(
                "<DescribeTagsResponse><DescribeTagsResult><Tags>{members}</Tags>\
                 </DescribeTagsResult></DescribeTagsResponse>"
            ),
        };
        self.aws.on(Matcher::action(TAGS), answer);
    }

    /// A kubeadm that joins only with a configuration that has these words and not those.
    fn kubeadm_is_told(&self, words: &[&str], not: &[&str]) -> Result<()> {
        let has = |word: &&str| format!("grep -qF '{word}' $3 || exit 1\n");
        let lacks = |word: &&str| format!("grep -qF '{word}' $3 && exit 1\n");
        let checks: String = words.iter().map(has).chain(not.iter().map(lacks)).collect();
        self.program(
            "kubeadm",
            &format!(
                "case $1 in version) echo v1.36.3; exit ;; join) ;; *) exit ;; esac\n{checks}exit 0"
            ),
        )
    }

    fn hook(&mut self) {
        self.config["lifecycleHook"] = json!({"autoScalingGroup": "workers", "name": "join"});
    }

    fn write_config(&self) -> Result<()> {
        let path = self.root.join("etc/windlass/node.yaml");
        Ok(fs::write(path, self.config.to_string())?)
    }

    fn takes_longer_than_a_heartbeat(&mut self) -> Result<()> {
        self.config["budget"] = json!("3m");
        self.program(
            "kubeadm",
            "case $1 in version) echo v1.36.3 ;; join) sleep 63 ;; esac",
        )
    }

    fn join(&self) -> Result<Output> {
        self.write_config()?;
        let skip = self.variables.iter().find(|(name, _)| name == "SKIP");
        let skip = skip.map(|(_, value)| value.as_str()).unwrap_or_default();
        Command::new(windlass_e2e::binary()?)
            .args(["join", "--skip", skip])
            .env_clear()
            .envs(self.variables.iter().cloned())
            .output()
            .context("run windlass join")
    }

    /// Everything that a join writes, and what it has said: without the secret in it.
    fn check_for_secrets(&self, said: &str) -> Result<()> {
        ensure!(!said.contains(&self.secret), "a secret was said: {said}");
        let root = self.root.display().to_string();
        let mut found = files_with(Command::new("grep"), &self.secret, &[&root])?;
        found.retain(|file| self.forgiven.as_deref() != Some(Path::new(file)));
        ensure!(found.is_empty(), "a secret is left in {found:?}");
        Ok(())
    }
}

fn done(action: &str) -> Act {
    Act::Answer {
        status: 200,
        content_type: "text/xml".to_owned(),
        body: format!("<{action}Response><{action}Result/></{action}Response>"),
    }
}

/// A case that ended as specified.
struct Played {
    /// How it went.
    line: String,
    /// What was called of AWS.
    called: BTreeSet<String>,
}

fn play(testbed: &'static Testbed, case: &Case) -> Result<Played> {
    let mut rig = Rig::new(testbed, case.name)?;
    (case.arrange)(&mut rig)?;
    let begun = Instant::now();
    let output = rig.join()?;
    let took = begun.elapsed();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let last = said
        .lines()
        .rfind(|line| line.starts_with("windlass-join: result="))
        .unwrap_or_default();
    ensure!(output.status.code() == Some(case.code), "{said}");
    for word in case.words {
        ensure!(last.contains(word), "no `{word}`: {said}");
    }
    let told = |action: &str, name: &str| -> Vec<String> {
        let requests = rig.aws.requests_matching(&Matcher::action(action));
        let parameter = requests
            .iter()
            .filter_map(|request| request.parameter(name));
        parameter.collect()
    };
    let health = told(HEALTH, "HealthStatus");
    let hook = told(HOOK, "LifecycleActionResult");
    let (wanted_health, wanted_hook) = match case.told {
        Told::Nothing => (None, None),
        Told::Unhealthy => (Some("Unhealthy"), None),
        Told::Hook(result) => (None, Some(result)),
    };
    // A call that was tried again is one thing told.
    for (told, wanted) in [(health, wanted_health), (hook, wanted_hook)] {
        ensure!(
            told.first().map(String::as_str) == wanted,
            "{told:?}: {said}"
        );
        ensure!(
            told.iter().all(|it| Some(it.as_str()) == wanted),
            "{told:?}"
        );
    }
    rig.check_for_secrets(&said)?;
    let status = fs::read_to_string(rig.root.join("run/windlass/status.json"))?;
    let status: Value = serde_json::from_str(&status)?;
    ensure!(status["code"] == case.code, "{status}");
    if case.name == "one-disk" {
        let calls = fs::read_to_string(rig.root.join("systemctl.calls"))?;
        let calls: Vec<&str> = calls.lines().collect();
        let units = "var-lib-containerd.mount var-lib-kubelet.mount var-log-pods.mount";
        let wanted = [
            "daemon-reload",
            "stop kubelet containerd",
            "start mnt-windlass.mount",
            &format!("enable mnt-windlass.mount {units}"),
            &format!("start {units}"),
            "start containerd",
        ];
        ensure!(calls == wanted, "{calls:#?}");
        let kept = fs::read_to_string(rig.root.join("mnt/windlass/containerd/image"))?;
        ensure!(kept == "layers");
        let mounts = rig.root.join("etc/systemd/system/mnt-windlass.mount");
        ensure!(fs::read_to_string(mounts)?.contains("What=LABEL=windlass-disks"));
    }
    if case.name == "kubeadm-fails-once" {
        let calls = fs::read_to_string(rig.root.join("failed-once.calls"))?;
        let verbs: Vec<_> = calls
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        ensure!(verbs == ["join", "reset", "join"], "{verbs:?}");
    }
    Ok(Played {
        line: format!("{:18} {took:>8.1?}  {last}", case.name),
        called: called(&rig.aws),
    })
}

#[test]
fn every_call_that_fails_ends_as_specified() -> Result<()> {
    let testbed = joinable_testbed()?;
    let results: Vec<(&str, Result<Played>)> = thread::scope(|scope| {
        let running: Vec<_> = CASES
            .iter()
            .map(|case| (case.name, scope.spawn(|| play(testbed, case))))
            .collect();
        running
            .into_iter()
            .map(|(name, thread)| {
                let result = thread.join();
                (name, result.unwrap_or_else(|_| bail!("it panicked")))
            })
            .collect()
    });
    let mut failed = Vec::new();
    let mut all_called = BTreeSet::new();
    for (name, result) in results {
        match result {
            Ok(played) => {
                eprintln!("{}", played.line);
                all_called.extend(played.called);
            }
            Err(error) => failed.push(format!("{name}: {error:#}")),
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    check_exactly(&granted(&[Actor::Node]), &all_called)?;
    let secrets: Vec<String> = CASES
        .iter()
        .filter_map(|case| {
            Some(
                Credential::of(testbed, case.name)
                    .published()
                    .ok()?
                    .secret()
                    .to_owned(),
            )
        })
        .collect();
    eprintln!("{}", check_what_was_said(testbed, &secrets)?);
    Ok(())
}

#[test]
fn a_join_keeps_to_its_bounds_and_writes_nothing_to_etc() -> Result<()> {
    /// Most memory that a join takes, in KiB: nodes may be small.
    const MOST_MEMORY: u64 = 30 << 10;
    /// Most time that it computes.
    const MOST_TIME: Duration = Duration::from_secs(2);
    let testbed = joinable_testbed()?;
    let rig = Rig::new(testbed, "bounds")?;
    let seen = rig.root.join("status");
    // kubeadm is run after all that takes memory has been made.
    rig.program(
        "kubeadm",
        &format!(
            "case $1 in version) echo v1.36.3 ;; join) cat /proc/$PPID/status >{} ;; esac",
            seen.display()
        ),
    )?;
    rig.write_config()?;
    let root = rig.root.display();
    let script = format!(
        "mount --make-rprivate / && mount --bind {root}/etc {root}/etc && \
         mount -o remount,ro,bind {root}/etc && ! touch {root}/etc/one 2>/dev/null || exit 97\n\
         TIMEFORMAT='computed %U %S'\n\
         time {} join --skip already-joined,ready",
        windlass_e2e::binary()?.display()
    );
    let output = Command::new("unshare")
        .args(["--mount", "bash", "-c", &script])
        .env_clear()
        .envs(rig.variables.iter().cloned())
        .output()
        .context("run windlass join")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{:?}: {said}", output.status);
    let line = said.lines().find_map(|line| line.strip_prefix("computed "));
    let line = line.context("how long it has computed")?;
    let computed: f64 = line
        .split(' ')
        .map(str::parse::<f64>)
        .sum::<Result<f64, _>>()?;
    let status = fs::read_to_string(seen)?;
    let kib = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        Ok(line
            .context("its memory")?
            .trim()
            .trim_end_matches(" kB")
            .parse()?)
    };
    // Its own: the pages of the program itself are many in a build with debug information.
    let memory = kib("RssAnon:")?;
    eprintln!(
        "a join computes {computed} s and takes {memory} KiB, {} with its program's pages",
        kib("VmHWM:")?
    );
    ensure!(computed < MOST_TIME.as_secs_f64(), "{computed} s");
    ensure!(memory < MOST_MEMORY, "{memory} KiB");
    rig.check_for_secrets(&said)
}
