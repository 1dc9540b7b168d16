//! Building an image through EC2's API: an instance is launched, builds itself, and its disk becomes
//! the image. No SSH, nothing open to it.
//!
//! Where it is asked for, an instance is then started from the image, and has to find it as it should
//! be.
//!
//! All that is made carries [`BUILD_TAG`], so that [`clean_up`](super::clean_up::clean_up) finds it
//! whatever answer was lost.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use windlass_aws_client::ec2::{ImageState, NewInstance};
use windlass_aws_client::{CallError, Client};

use super::recipe::Recipe;
use super::report::{self, Report, State};
use crate::cluster_config::{Ami, ClusterConfig, SourceReference};
use crate::provision::OWNER_TAG;
use crate::provision::execute::known_profile;

/// The tag that says which build something belongs to.
pub const BUILD_TAG: &str = "windlass.dev/build";
/// The tag that says when a build is over whatever happened, in RFC 3339.
pub const EXPIRES_TAG: &str = "windlass.dev/expires";
/// The tag of an image with its version of Kubernetes, such as `v1.36.3`.
pub const KUBERNETES_TAG: &str = "windlass.dev/kubernetes";
/// The tag of an image with the hash of its recipe.
pub const RECIPE_TAG: &str = "windlass.dev/recipe";
/// The tag of an image with its architecture.
pub const ARCHITECTURE_TAG: &str = "windlass.dev/architecture";
/// The tag of an image that has passed its boot test: its value is [`PASSED`].
pub const BOOT_TEST_TAG: &str = "windlass.dev/boot-test";
/// The value of [`BOOT_TEST_TAG`].
pub const PASSED: &str = "passed";
/// How long an instance may take to boot, to check itself, and to power itself off.
const BOOT_TIMEOUT: Duration = Duration::from_mins(10);
/// How long the image of a disk may take.
const IMAGE_TIMEOUT: Duration = Duration::from_hours(1);
/// How long an instance may take to end, and to let go of its security group.
pub(super) const SETTLE_TIMEOUT: Duration = Duration::from_mins(5);
/// How long it may take until what is new is found by its tag.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often something is created whose answer is lost.
const ATTEMPTS: u32 = 4;
/// Lines of the console that a failure shows.
const CONSOLE_LINES: usize = 20;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// No client for another region.
    #[error("no client for region {region}")]
    Region {
        /// The region.
        region: String,
        /// Why.
        #[source]
        source: windlass_aws_client::ConnectError,
    },
    /// There is no image to start from.
    #[error("spec.ami.source: there is no {what}")]
    NoSource {
        /// What was looked for.
        what: String,
    },
    /// The image to start from is for other machines.
    #[error("spec.ami.source: {image} is for {found}, and the image is to be for {wanted}")]
    Architecture {
        /// The image.
        image: String,
        /// What it is for.
        found: String,
        /// What was wanted.
        wanted: &'static str,
    },
    /// The subnet is not there.
    #[error("spec.ami.builder.subnet: there is no `{0}` in this region")]
    NoSubnet(String),
    /// An instance says that it failed.
    #[error("{who} failed: {why}")]
    Failed {
        /// Which instance.
        who: &'static str,
        /// What it said.
        why: String,
    },
    /// An instance ended without a report.
    #[error("{who} is {state} and has not said how it went; the end of its console:\n{console}")]
    NoReport {
        /// Which instance.
        who: &'static str,
        /// Its state.
        state: String,
        /// The end of its console.
        console: String,
    },
    /// An instance did not end.
    #[error("{who} did not end within {} s; the end of its console:\n{console}", .after.as_secs())]
    Timeout {
        /// Which instance.
        who: &'static str,
        /// How long it was waited.
        after: Duration,
        /// The end of its console.
        console: String,
    },
    /// The image did not become available.
    #[error("image {image} is {state} and does not become available")]
    Image {
        /// The image.
        image: String,
        /// Its state.
        state: String,
    },
    /// The image is not what it should be once it has booted.
    #[error("{image} has not passed its boot test")]
    BootTest {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: Box<BuildError>,
    },
}

impl BuildError {
    /// The call that failed, if one did.
    pub fn call(&self) -> Option<&CallError> {
        match self {
            Self::Call(call) => Some(call),
            Self::BootTest { source, .. } => source.call(),
            _ => None,
        }
    }
}

/// An image, in this region and in others.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Built {
    /// Its name.
    pub name: String,
    /// Its id.
    pub image: String,
    /// Ids of the copies, by region.
    pub copies: BTreeMap<String, String>,
    /// From when on they are deprecated; never, if nobody asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprecated_from: Option<Timestamp>,
    /// Whether it was there before.
    pub was_there: bool,
}

/// A build.
pub struct Build<'a> {
    /// The cluster's region.
    pub client: &'a Client,
    /// The configuration.
    pub config: &'a ClusterConfig,
    /// What is built.
    pub recipe: &'a Recipe,
    /// Its id: new for every build.
    pub id: &'a str,
    /// The image that it starts from.
    pub source: &'a ImageState,
    /// The builder's user data, in base64.
    pub user_data: &'a str,
    /// The user data of the instance that tests the image, in base64.
    pub boot_test_user_data: &'a str,
    /// When it begins.
    pub begun: Timestamp,
    /// How often AWS is asked how far it is.
    pub poll: Duration,
    /// Is told how it goes, line by line.
    pub say: &'a (dyn Fn(&str) + Sync),
    /// Held while something is being created; free at the beginning.
    pub creating: Mutex<()>,
}

/// What an instance of a build is launched for.
struct Errand<'a> {
    /// Which instance it is, in a sentence.
    who: &'static str,
    /// The image that it starts from.
    image: &'a ImageState,
    /// Its user data, in base64.
    user_data: &'a str,
    /// Who it reports as.
    reports_as: String,
    /// How long it may take.
    timeout: Duration,
}

/// Tags of what is made in the end.
pub fn image_tags(config: &ClusterConfig, recipe: &Recipe) -> BTreeMap<String, String> {
    let mut tags = config.spec.tags.clone();
    for (key, value) in [
        ("Name", recipe.image_name()),
        (OWNER_TAG, recipe.cluster.clone()),
        (KUBERNETES_TAG, format!("v{}", recipe.kubernetes.version)),
        (RECIPE_TAG, recipe.hash()),
        (ARCHITECTURE_TAG, recipe.ami.architecture.name().to_owned()),
    ] {
        tags.insert(key.to_owned(), value);
    }
    tags
}

/// The builder's subnet.
pub(super) fn subnet<'a>(config: &'a ClusterConfig, ami: &'a Ami) -> Option<&'a str> {
    let of_cluster = config.spec.subnets.first();
    ami.builder
        .subnet
        .as_ref()
        .or(of_cluster)
        .map(String::as_str)
}

/// Name of the builder's instance profile.
fn instance_profile(recipe: &Recipe) -> String {
    let named = recipe.ami.builder.instance_profile.clone();
    named.unwrap_or_else(|| format!("{}-windlass-ami", recipe.cluster))
}

/// The image to start from, as of now.
///
/// # Errors
///
/// When there is none, or it is for other machines.
pub async fn source(client: &Client, recipe: &Recipe) -> Result<ImageState, BuildError> {
    let ec2 = client.ec2();
    let missing = |what: String| BuildError::NoSource { what };
    let found = match recipe.ami.source.reference() {
        Some(SourceReference::Id(id)) => ec2
            .image_state(id)
            .await?
            .ok_or_else(|| missing(format!("image {id}")))?,
        Some(SourceReference::Parameter(parameter)) => {
            let value = client.ssm().get_parameter(parameter).await?;
            let value = value.ok_or_else(|| missing(format!("parameter {parameter}")))?;
            let id = value.value.expose().trim().to_owned();
            ec2.image_state(&id)
                .await?
                .ok_or_else(|| missing(format!("image {id}, which {parameter} names")))?
        }
        Some(SourceReference::Newest { owner, name }) => ec2
            .images_by_name(owner, name)
            .await?
            .into_iter()
            .filter(|image| image.architecture == recipe.ami.architecture.ec2_name())
            .max_by(|a, b| (&a.creation_date, &a.id).cmp(&(&b.creation_date, &b.id)))
            .ok_or_else(|| missing(format!("image `{name}` of owner {owner}")))?,
        None => return Err(missing("image named".to_owned())),
    };
    let wanted = recipe.ami.architecture.ec2_name();
    if found.architecture != wanted {
        return Err(BuildError::Architecture {
            image: found.id,
            found: found.architecture,
            wanted,
        });
    }
    Ok(found)
}

/// The image of this recipe, if there is one already.
///
/// # Errors
///
/// When a call fails.
pub async fn existing(client: &Client, name: &str) -> Result<Option<ImageState>, CallError> {
    let found = client.ec2().images_by_name("self", name).await?;
    let is_good = |image: &ImageState| ["available", "pending"].contains(&image.state.as_str());
    Ok(found.into_iter().find(is_good))
}

impl Build<'_> {
    /// Builds the image. Whatever comes of it, [`clean_up`](super::clean_up::clean_up) comes after.
    ///
    /// # Errors
    ///
    /// When there is no image in the end.
    pub async fn run(&self, name: &str) -> Result<Built, BuildError> {
        let errand = Errand {
            who: "the builder",
            image: self.source,
            user_data: self.user_data,
            reports_as: self.id.to_owned(),
            timeout: self.recipe.ami.builder.timeout.0,
        };
        let security_group = self.security_group().await?;
        let instance = self.launch(&errand, &security_group).await?;
        (self.say)(&format!("{instance} builds"));
        self.wait_for(&errand, &instance).await?;
        let image = self.image(&instance, name).await?;
        if self.recipe.ami.publish.boot_test {
            self.boot(&image, &security_group).await?;
        }
        Ok(Built {
            name: name.to_owned(),
            image: image.id,
            copies: BTreeMap::new(),
            deprecated_from: None,
            was_there: false,
        })
    }

    /// Tests an image that is there already, and has not passed its boot test. Whatever comes of it,
    /// [`clean_up`](super::clean_up::clean_up) comes after.
    ///
    /// # Errors
    ///
    /// When it does not pass.
    pub async fn test(&self, image: &ImageState) -> Result<(), BuildError> {
        let security_group = self.security_group().await?;
        self.boot(image, &security_group).await
    }

    /// Starts an instance from an image, and marks the image as passed if that finds all as it should be.
    async fn boot(&self, image: &ImageState, security_group: &str) -> Result<(), BuildError> {
        let failed = |source| BuildError::BootTest {
            image: image.id.clone(),
            source: Box::new(source),
        };
        let errand = Errand {
            who: "the instance that was started from it",
            image,
            user_data: self.boot_test_user_data,
            reports_as: report::boot_test(self.id),
            timeout: BOOT_TIMEOUT,
        };
        let launched = self.launch(&errand, security_group).await;
        let instance = launched.map_err(failed)?;
        (self.say)(&format!("{instance} tests {}", image.id));
        self.wait_for(&errand, &instance).await.map_err(failed)?;
        let passed = BTreeMap::from([(BOOT_TEST_TAG.to_owned(), PASSED.to_owned())]);
        self.client.ec2().create_tags(&image.id, &passed).await?;
        Ok(())
    }

    /// Waits until nothing is being created. Who gives up [`Self::run`] does it only then: what a call
    /// under way makes may come to be after [`clean_up`](super::clean_up::clean_up) has looked for it.
    pub async fn rest(&self) {
        drop(self.creating.lock().await);
    }

    /// Creates something that has the build's tag, and is done when
    /// [`clean_up`](super::clean_up::clean_up) would find it.
    async fn made(
        &self,
        create: impl AsyncFn() -> Result<String, CallError>,
        find: impl AsyncFn() -> Result<Option<String>, CallError>,
    ) -> Result<String, CallError> {
        let _creating = self.creating.lock().await;
        let id = once(create, &find, self.poll).await?;
        let begun = Instant::now();
        while find().await?.is_none() && begun.elapsed() < VISIBLE_TIMEOUT {
            sleep(self.poll).await;
        }
        Ok(id)
    }

    fn build_tags(&self) -> BTreeMap<String, String> {
        let mut tags = self.config.spec.tags.clone();
        tags.insert("Name".to_owned(), format!("windlass-ami-{}", self.id));
        tags.insert(OWNER_TAG.to_owned(), self.recipe.cluster.clone());
        tags.insert(BUILD_TAG.to_owned(), self.id.to_owned());
        let ami = &self.recipe.ami;
        let mut at_most = ami.builder.timeout.0 + IMAGE_TIMEOUT + SETTLE_TIMEOUT;
        if ami.publish.boot_test {
            at_most += BOOT_TIMEOUT;
        }
        let expires = self.begun.saturating_add(at_most).unwrap_or(Timestamp::MAX);
        tags.insert(EXPIRES_TAG.to_owned(), format!("{expires:.0}"));
        tags
    }

    /// Makes the security group of the instances.
    async fn security_group(&self) -> Result<String, BuildError> {
        let ec2 = self.client.ec2();
        let subnet = subnet(self.config, &self.recipe.ami).unwrap_or_default();
        let vpc = ec2.vpc_of_subnet(subnet).await?;
        let vpc = vpc.ok_or_else(|| BuildError::NoSubnet(subnet.to_owned()))?;
        let tags = self.build_tags();
        let group_name = format!("windlass-ami-{}", self.id);
        let description = "Builder of a machine image: lets nothing in";
        let create = async || {
            ec2.create_security_group(&group_name, description, &vpc, &tags)
                .await
        };
        let of_build = format!("tag:{BUILD_TAG}");
        let find = async || {
            let found = ec2.security_groups(&of_build, self.id).await?;
            Ok(found.into_iter().next().map(|group| group.id))
        };
        Ok(self.made(create, find).await?)
    }

    async fn launch(
        &self,
        errand: &Errand<'_>,
        security_group: &str,
    ) -> Result<String, BuildError> {
        let ec2 = self.client.ec2();
        let ami = &self.recipe.ami;
        let tags = self.build_tags();
        let volume = &ami.builder.root_volume;
        let own_type = ami.architecture.builder_type();
        // The device of the image itself, or the builder would have a second disk and the image the
        // stock image's size.
        let device = errand.image.root_device_name.as_deref();
        let profile = instance_profile(self.recipe);
        let new = NewInstance {
            image: &errand.image.id,
            instance_type: ami.builder.instance_type.as_deref().unwrap_or(own_type),
            subnet: subnet(self.config, ami).unwrap_or_default(),
            security_group,
            instance_profile: &profile,
            user_data: errand.user_data,
            device: device.unwrap_or(&volume.device),
            volume: [
                ("VolumeSize", Some(volume.size.gib.to_string())),
                ("VolumeType", Some(volume.kind.clone())),
                ("Iops", volume.iops.map(|it| it.to_string())),
                ("Throughput", volume.throughput.map(|it| it.to_string())),
                ("KmsKeyId", volume.kms_key.clone()),
            ]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
            client_token: &errand.reports_as,
            tags: &tags,
        };
        let of_build = format!("tag:{BUILD_TAG}");
        let find = async || {
            let found = ec2.describe_instances(&of_build, self.id).await?;
            // The builder and who tests its image are of one build.
            let mut found = found.into_iter();
            let its = found.find(|instance| instance.image_id == errand.image.id);
            Ok(its.map(|instance| instance.id))
        };
        let create = async || ec2.run_instance(&new).await;
        Ok(known_profile(self.poll, || self.made(&create, &find)).await?)
    }

    /// Waits until an instance has powered itself off, and fails unless it says that all is well.
    async fn wait_for(&self, errand: &Errand<'_>, instance: &str) -> Result<(), BuildError> {
        let begun = Instant::now();
        let mut told = 0;
        loop {
            let report = self.report(errand).await?;
            if let Some(report) = &report {
                for line in report.sections.iter().skip(told) {
                    (self.say)(line);
                }
                told = told.max(report.sections.len());
            }
            let state = self.state_of(instance).await?;
            if ["stopped", "shutting-down", "terminated"].contains(&state.as_str()) {
                // What it said between the two questions counts.
                let report = self.report(errand).await?;
                return self.verdict(errand, instance, state, report).await;
            }
            if errand.timeout < begun.elapsed() {
                return Err(BuildError::Timeout {
                    who: errand.who,
                    after: errand.timeout,
                    console: self.console(instance).await,
                });
            }
            sleep(self.poll).await;
        }
    }

    async fn verdict(
        &self,
        errand: &Errand<'_>,
        instance: &str,
        state: String,
        report: Option<Report>,
    ) -> Result<(), BuildError> {
        match report {
            Some(report) if report.state == State::Succeeded && state == "stopped" => Ok(()),
            Some(report) if report.state == State::Failed => Err(BuildError::Failed {
                who: errand.who,
                why: report.why,
            }),
            _ => Err(BuildError::NoReport {
                who: errand.who,
                state,
                console: self.console(instance).await,
            }),
        }
    }

    async fn report(&self, errand: &Errand<'_>) -> Result<Option<Report>, CallError> {
        let who = errand.reports_as.as_str();
        let name = report::parameter(who);
        let found = self.client.ssm().get_parameter(&name).await?;
        Ok(found.and_then(|found| Report::read(who, found.value.expose())))
    }

    async fn state_of(&self, instance: &str) -> Result<String, CallError> {
        let ec2 = self.client.ec2();
        let found = ec2.describe_instances("instance-id", instance).await?;
        // A new instance is not seen everywhere at once.
        Ok(found
            .first()
            .map_or("pending", |found| found.state())
            .to_owned())
    }

    /// The end of an instance's console, or why there is none: a failure is told in any case.
    async fn console(&self, instance: &str) -> String {
        match self.client.ec2().console_output(instance).await {
            Ok(output) => {
                let output = output.unwrap_or_default();
                let lines: Vec<&str> = output.lines().collect();
                lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n")
            }
            Err(error) => error.to_string(),
        }
    }

    async fn image(&self, instance: &str, name: &str) -> Result<ImageState, BuildError> {
        let ec2 = self.client.ec2();
        let mut tags = image_tags(self.config, self.recipe);
        // Until it is whole it belongs to the build, and goes with it.
        tags.insert(BUILD_TAG.to_owned(), self.id.to_owned());
        let create = async || ec2.create_image(instance, name, &tags).await;
        let find = async || {
            let found = ec2.own_images_by_tag(BUILD_TAG, self.id).await?;
            Ok(found.into_iter().next().map(|image| image.id))
        };
        let image = self.made(create, find).await?;
        (self.say)(&format!("{image} is made of its disk"));
        finish(self.client, &image, &tags, self.poll).await
    }
}

/// Creates what may be created once alone: after an answer that was lost it is looked for first.
async fn once(
    create: impl AsyncFn() -> Result<String, CallError>,
    find: impl AsyncFn() -> Result<Option<String>, CallError>,
    pause: Duration,
) -> Result<String, CallError> {
    for _ in 1..ATTEMPTS {
        match create().await {
            Err(error) if error.may_have_happened() => sleep(pause).await,
            result => return result,
        }
        if let Some(found) = find().await? {
            return Ok(found);
        }
    }
    create().await
}

/// Gives a new image, once it is there, what it does not have from the beginning, and says how it is.
/// Safe to do again.
pub(super) async fn finish(
    client: &Client,
    image: &str,
    tags: &BTreeMap<String, String>,
    poll: Duration,
) -> Result<ImageState, BuildError> {
    let ec2 = client.ec2();
    let state = available(client, image, poll).await?;
    for snapshot in state.snapshots() {
        ec2.create_tags(snapshot, tags).await?;
    }
    ec2.require_metadata_tokens(image).await?;
    Ok(state)
}

/// Does for an image that was there already what its build may not have come to, and says how it is.
///
/// # Errors
///
/// When a call fails, or the image does not become available.
pub async fn take_up(
    client: &Client,
    image: &ImageState,
    poll: Duration,
) -> Result<ImageState, BuildError> {
    finish(client, &image.id, &image.tags, poll).await
}

/// Waits until an image can be used.
async fn available(client: &Client, image: &str, poll: Duration) -> Result<ImageState, BuildError> {
    let begun = Instant::now();
    loop {
        let found = client.ec2().image_state(image).await?.unwrap_or_default();
        let is_over = !["pending", ""].contains(&found.state.as_str());
        if found.state == "available" {
            return Ok(found);
        }
        if is_over || IMAGE_TIMEOUT < begun.elapsed() {
            return Err(BuildError::Image {
                image: image.to_owned(),
                state: found.state,
            });
        }
        sleep(poll).await;
    }
}
