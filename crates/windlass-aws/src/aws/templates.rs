//! What the groups' next nodes would look like: asking AWS for what that takes.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use tracing::warn;
use windlass_aws_client::ec2::{Image, InstanceRequirements};
use windlass_aws_client::eks::Nodegroup;
use windlass_aws_client::{CallError, Client, ErrorClass};
use windlass_config::{AwsMaxPods, AwsMixedTemplate};
use windlass_model::{CsiNode, Duration, MicroDollars, Node};

use super::prices::HeardPrices;
use super::{Aws, RefreshReport, State};
use crate::group::Group;
use crate::instance_type::{Architecture, Catalogue, InstanceType};
use crate::launch::{Choice, Launch, LaunchData, Source, root_volume_gib, version};
use crate::memo::Memo;
use crate::price::Prices;
use crate::provider_id::ProviderId;
use crate::shortage::{Market, Pool, Sources};
use crate::tags::{EksNodegroupName, GroupTags};
use crate::template::{self, ANOTHER_IMAGE, Known, Learned, Origin, Template};

/// Questions put to AWS at the same time.
const AT_ONCE: usize = 8;
/// Answers of one kind that are renewed with one listing, at most.
const RENEWALS: usize = 1;
/// How long answers are good for: what may change any time, and what never does.
const CHANGING: Duration = Duration::from_mins(10);
const FIXED: Duration = Duration::from_hours(24);
/// How long it is good that an EKS node group is being updated: asked with every listing.
const UPDATING: Duration = Duration::from_secs(50);
/// How long a question that failed is let rest: in passing, or for good.
const TRANSIENT: Duration = Duration::from_secs(60);
const REFUSED: Duration = Duration::from_hours(1);
/// How many fitting types of an attribute-based group are looked at.
const MOST_TYPES: usize = 200;

/// What the shape of new nodes depends on besides AWS.
#[derive(Clone, Debug)]
pub struct TemplateSettings {
    /// Never ask EC2 about instance types (`--aws-use-static-instance-list`).
    pub static_instance_types: bool,
    /// `--aws-max-pods`.
    pub max_pods: AwsMaxPods,
    /// `--aws-mixed-template`.
    pub mixed: AwsMixedTemplate,
    /// Prices that come before the built-in ones.
    pub prices: Prices,
    /// Ask AWS for prices (`--aws-ask-prices`).
    pub ask_prices: bool,
    /// Tell how many volumes a node can have attached (`--enable-csi-node-aware-scheduling`).
    pub with_volume_limits: bool,
}

impl Default for TemplateSettings {
    fn default() -> Self {
        Self {
            static_instance_types: false,
            max_pods: AwsMaxPods::Auto,
            mixed: AwsMixedTemplate::Min,
            prices: Prices::default(),
            ask_prices: false,
            with_volume_limits: false,
        }
    }
}

/// What AWS has said about what the groups launch.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) settings: TemplateSettings,
    sources: Memo<LaunchData>,
    images: Memo<Image>,
    fitting_types: Memo<Vec<String>>,
    nodegroups: Memo<Nodegroup>,
    catalogue: Catalogue,
    learned: Learned,
    /// The image that each instance was launched from, of those of which that can be told.
    images_of: BTreeMap<String, Option<String>>,
    pub(super) heard_prices: HeardPrices,
    origins: BTreeMap<String, Vec<Origin>>,
}

impl Aws {
    /// Where each part of a group's template comes from.
    pub fn template_origins(&self, group: &str) -> Vec<Origin> {
        self.state()
            .answers
            .origins
            .get(group)
            .cloned()
            .unwrap_or_default()
    }

    /// Asks what is not known yet or not any more, and makes the templates anew.
    pub(super) async fn refresh_templates(&self, now: Timestamp, report: &mut RefreshReport) {
        let wishes = self.wishes();
        self.ask_sources(&wishes, now, report).await;
        self.ask_nodegroups(now, report).await;
        self.ask_images(&wishes, now, report).await;
        self.ask_fitting_types(&wishes, now, report).await;
        self.ask_instance_types(&wishes, now, report).await;
        self.ask_prices(now, report).await;
        let mut state = self.state();
        let state = &mut *state;
        state.answers.images_of = state.answers.launched_from(state.groups.iter());
        self.make_templates(state);
    }

    /// Makes the templates anew of what is known.
    pub(super) fn make_templates(&self, state: &mut State) {
        state.answers.origins.clear();
        for group in state.groups.iter_mut() {
            group.set_sources(state.answers.pools(group));
            let built = state.answers.template(group, self.inner.client.region());
            match built {
                Ok((template, price)) => {
                    let Template { node, origins } = template;
                    state
                        .answers
                        .origins
                        .insert(group.name().to_owned(), origins);
                    group.set_template(Ok(node), price);
                }
                Err(trouble) => group.set_template(Err(trouble), None),
            }
        }
    }

    fn wishes(&self) -> Vec<Launch> {
        self.state()
            .groups
            .iter()
            .filter_map(|group| Launch::of(group.description()?).ok())
            .collect()
    }

    async fn ask_sources(&self, wishes: &[Launch], now: Timestamp, report: &mut RefreshReport) {
        let sources: BTreeMap<String, Source> = wishes
            .iter()
            .map(|launch| (launch.source.key(), launch.source.clone()))
            .collect();
        let due = self
            .state()
            .answers
            .sources
            .due(sources.keys().cloned(), RENEWALS, now);
        let client = &self.inner.client;
        let answers = ask(due, |key| {
            let source = &sources[key];
            async move { describe_source(client, source).await }
        })
        .await;
        let memo = &mut self.state().answers.sources;
        for (key, answer) in answers {
            let good_for = if sources[&key].is_fixed() {
                FIXED
            } else {
                CHANGING
            };
            keep(memo, key, answer, now, good_for, report);
        }
    }

    async fn ask_nodegroups(&self, now: Timestamp, report: &mut RefreshReport) {
        let names: BTreeMap<String, EksNodegroupName> = self
            .state()
            .groups
            .iter()
            .filter_map(|group| group.tags().eks.clone())
            .map(|name| (nodegroup_key(&name), name))
            .collect();
        let due = self
            .state()
            .answers
            .nodegroups
            .due(names.keys().cloned(), RENEWALS, now);
        let client = &self.inner.client;
        let answers = ask(due, |key| {
            let name = &names[key];
            async move {
                client
                    .eks()
                    .describe_nodegroup(&name.cluster, &name.nodegroup)
                    .await
                    .map(Some)
            }
        })
        .await;
        let mut state = self.state();
        let State {
            groups,
            answers: kept,
            ..
        } = &mut *state;
        for (key, answer) in answers {
            let is_updating = matches!(&answer, Ok(Some(eks)) if is_updating(eks));
            let good_for = if is_updating { UPDATING } else { CHANGING };
            keep(&mut kept.nodegroups, key, answer, now, good_for, report);
        }
        for group in groups.iter_mut() {
            let eks = group.tags().eks.as_ref().map(nodegroup_key);
            let eks = eks.and_then(|key| kept.nodegroups.get(&key));
            let issues = eks.iter().filter_map(|eks| eks.health.as_ref());
            let issues = issues.flat_map(|health| &health.issues);
            group.set_eks_issues(
                issues
                    .map(|issue| format!("{}: {}", issue.code, issue.message))
                    .collect(),
            );
            let tags = eks.as_deref().map(eks_tags).unwrap_or_default();
            group.set_eks_options(tags.options);
            group.set_eks_updating(eks.as_deref().is_some_and(is_updating));
        }
    }

    async fn ask_images(&self, wishes: &[Launch], now: Timestamp, report: &mut RefreshReport) {
        let ids: BTreeSet<String> = {
            let state = self.state();
            wishes
                .iter()
                .filter_map(|launch| state.answers.sources.get(&launch.source.key()))
                .filter_map(|data| data.image.clone())
                .collect()
        };
        let due = self.state().answers.images.due(ids, RENEWALS, now);
        let client = &self.inner.client;
        let answers = ask(due, |id| {
            let id = id.to_owned();
            async move { describe_image(client, &id).await }
        })
        .await;
        let memo = &mut self.state().answers.images;
        for (id, answer) in answers {
            let good_for = if id.starts_with(RESOLVED) {
                CHANGING
            } else {
                FIXED
            };
            keep(memo, id, answer, now, good_for, report);
        }
    }

    async fn ask_fitting_types(
        &self,
        wishes: &[Launch],
        now: Timestamp,
        report: &mut RefreshReport,
    ) {
        let questions: BTreeMap<String, (Architecture, InstanceRequirements)> = {
            let state = self.state();
            wishes
                .iter()
                .flat_map(|launch| state.answers.requirements(launch))
                .map(|(architecture, requirements)| {
                    (
                        requirements_key(architecture, &requirements),
                        (architecture, requirements),
                    )
                })
                .collect()
        };
        let due = self
            .state()
            .answers
            .fitting_types
            .due(questions.keys().cloned(), RENEWALS, now);
        let client = &self.inner.client;
        let answers = ask(due, |key| {
            let (architecture, requirements) = &questions[key];
            async move {
                client
                    .ec2()
                    .instance_types_from_requirements(architecture.ec2_name(), "hvm", requirements)
                    .await
                    .map(Some)
            }
        })
        .await;
        let memo = &mut self.state().answers.fitting_types;
        for (key, answer) in answers {
            keep(memo, key, answer, now, REFUSED, report);
        }
    }

    async fn ask_instance_types(
        &self,
        wishes: &[Launch],
        now: Timestamp,
        report: &mut RefreshReport,
    ) {
        let due = {
            let state = self.state();
            if state.answers.settings.static_instance_types {
                return;
            }
            let names: BTreeSet<String> = wishes
                .iter()
                .flat_map(|launch| state.answers.type_names(launch))
                .collect();
            state
                .answers
                .catalogue
                .to_ask(names.iter().map(String::as_str), now)
        };
        if due.is_empty() {
            return;
        }
        let ec2 = self.inner.client.ec2();
        let mut answer = ec2.describe_instance_types(&due).await;
        if answer
            .as_ref()
            .is_err_and(|error| matches!(error.class(), ErrorClass::Invalid | ErrorClass::NotFound))
        {
            // One name that EC2 does not know fails the whole call.
            answer = Ok(stream::iter(due.clone())
                .map(|name| async move { ec2.describe_instance_types(&[name]).await })
                .buffer_unordered(AT_ONCE)
                .filter_map(|answer| async { answer.ok() })
                .collect::<Vec<_>>()
                .await
                .into_iter()
                .flatten()
                .collect());
        }
        let catalogue = &mut self.state().answers.catalogue;
        match answer {
            Ok(answer) => catalogue.hear(&due, &answer, now),
            Err(error) => {
                catalogue.fall_silent(crate::schedule::later(now, pause_after(&error)));
                report.template_errors.push(error);
            }
        }
    }
}

impl Answers {
    /// None yet.
    pub(super) fn new(settings: TemplateSettings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Takes in a node of the cluster, and says whether it shows something new. Of those that were
    /// launched from what a group has had before, and of others', the image is not known.
    pub(super) fn learn(&mut self, node: &Node) -> bool {
        let image = ProviderId::parse(&node.provider_id)
            .and_then(|provider_id| self.images_of.get(&provider_id.instance));
        match image {
            Some(image) => self.learned.see(node, image.as_deref()),
            None => self.learned.see(node, Some(ANOTHER_IMAGE)),
        }
    }

    /// The images of the groups' instances that were launched from what the groups launch now.
    fn launched_from<'a>(
        &self,
        groups: impl Iterator<Item = &'a Group>,
    ) -> BTreeMap<String, Option<String>> {
        let mut images = BTreeMap::new();
        for group in groups {
            let Some(description) = group.description() else {
                continue;
            };
            let Ok(Launch { source, .. }) = Launch::of(description) else {
                continue;
            };
            let Some(data) = self.sources.get(&source.key()) else {
                continue;
            };
            let instances = description.instances.iter();
            let current = instances.filter(|it| source.has_launched(it, data.version));
            images.extend(current.map(|it| (it.instance_id.clone(), data.image.clone())));
        }
        images
    }

    /// Takes in what the CSI drivers of a node of the cluster allow.
    pub(super) fn learn_volume_limit(&mut self, node: &Node, csi_node: &CsiNode) {
        self.learned.see_volume_limit(node, csi_node);
    }

    /// What a group's next instance may come out of, as far as that is known.
    pub(super) fn pools(&self, group: &Group) -> Sources {
        let Some(description) = group.description() else {
            return Sources::default();
        };
        let Ok(launch) = Launch::of(description) else {
            return Sources::default();
        };
        let is_spot = self
            .sources
            .get(&launch.source.key())
            .is_some_and(|data| data.is_spot);
        let markets: &[Market] = match launch.spot_percent {
            Some(100) => &[Market::Spot],
            Some(0) => &[Market::OnDemand],
            Some(_) => &[Market::OnDemand, Market::Spot],
            None if is_spot => &[Market::Spot],
            None => &[Market::OnDemand],
        };
        let mut pools = Vec::new();
        for instance_type in self.type_names(&launch) {
            for zone in &description.availability_zones {
                pools.extend(markets.iter().map(|market| Pool {
                    instance_type: instance_type.clone(),
                    zone: zone.clone(),
                    market: *market,
                }));
            }
        }
        Sources {
            pools,
            subnets: description.vpc_zone_identifier.clone(),
        }
    }

    /// The template of a group and its price, or why there is none.
    fn template(
        &self,
        group: &Group,
        region: &str,
    ) -> Result<(Template, Option<MicroDollars>), String> {
        let description = group
            .description()
            .ok_or("the Auto Scaling group does not exist")?;
        let launch = Launch::of(description).map_err(|error| error.to_string())?;
        let key = launch.source.key();
        let data = self.sources.get(&key);
        if data.is_none() && matches!(launch.choice, Choice::OfSource) {
            return Err(self
                .sources
                .trouble(&key)
                .unwrap_or("the launch template has not been read yet")
                .to_owned());
        }
        let data = data.unwrap_or_default();
        let types = self.types(&launch)?;
        let image = data.image.as_ref().and_then(|id| self.images.get(id));
        let eks = group
            .tags()
            .eks
            .as_ref()
            .and_then(|name| self.nodegroups.get(&nodegroup_key(name)));
        let tags = merged_tags(group.tags(), eks.as_deref());
        let template = template::build(&Known {
            group: description,
            tags: &tags,
            region,
            types: &types,
            user_data: &data.user_data,
            root_volume_gib: root_volume_gib(
                &data.block_devices,
                image.as_ref().and_then(|image| {
                    Some((
                        image.root_device_name.as_deref()?,
                        image.block_devices.as_slice(),
                    ))
                }),
            ),
            image: data.image.as_deref(),
            is_windows: image.as_ref().is_some_and(|image| {
                image
                    .platform
                    .as_deref()
                    .is_some_and(|platform| platform.eq_ignore_ascii_case("windows"))
            }),
            eks: eks.as_deref(),
            learned: &self.learned,
            max_pods: self.settings.max_pods,
            mixed: self.settings.mixed,
            with_volume_limits: self.settings.with_volume_limits,
        })
        .map_err(|error| error.to_string())?;
        let mut template = template;
        let price = self.price(&launch, &self.pools(group), &types);
        if let Some(price) = price {
            template.origins.push(Origin {
                part: PRICE.to_owned(),
                value: format!("${:.4} an hour", price.amount.as_dollars()),
                source: price.source,
            });
        }
        Ok((template, price.map(|price| price.amount)))
    }

    /// The types that a group's next instance may be of, as far as they are known.
    fn types(&self, launch: &Launch) -> Result<Vec<Arc<InstanceType>>, String> {
        let names = self.type_names(launch);
        let types: Vec<Arc<InstanceType>> = names
            .iter()
            .filter_map(|name| self.catalogue.get(name))
            .collect();
        match (types.is_empty(), names.first()) {
            (false, _) => Ok(types),
            (true, Some(name)) => Err(format!("it uses the unknown EC2 instance type {name}")),
            (true, None) => Err(self
                .requirements(launch)
                .iter()
                .find_map(|(architecture, requirements)| {
                    self.fitting_types
                        .trouble(&requirements_key(*architecture, requirements))
                })
                .unwrap_or("unable to find instance type using launch template")
                .to_owned()),
        }
    }

    fn type_names(&self, launch: &Launch) -> Vec<String> {
        if let Choice::Types(names) = &launch.choice {
            return names.clone();
        }
        let requirements = self.requirements(launch);
        if requirements.is_empty() {
            return self
                .sources
                .get(&launch.source.key())
                .and_then(|data| data.instance_type.clone())
                .into_iter()
                .collect();
        }
        requirements
            .iter()
            .filter_map(|(architecture, requirements)| {
                self.fitting_types
                    .get(&requirements_key(*architecture, requirements))
            })
            .flat_map(|names| names.iter().take(MOST_TYPES).cloned().collect::<Vec<_>>())
            .collect()
    }

    /// The attributes that stand for a group's types, with the architecture of its image.
    fn requirements(&self, launch: &Launch) -> Vec<(Architecture, InstanceRequirements)> {
        let data = self.sources.get(&launch.source.key());
        let requirements = match (&launch.choice, &data) {
            (Choice::Requirements(requirements), _) => requirements.clone(),
            (Choice::OfSource, Some(data)) if data.instance_type.is_none() => {
                data.requirements.iter().cloned().collect()
            }
            _ => Vec::new(),
        };
        let image = data
            .as_ref()
            .and_then(|data| self.images.get(data.image.as_ref()?));
        let architecture = match image {
            Some(image) if image.architecture.starts_with("arm64") => Architecture::Arm64,
            // An image that could not be read is most often one for x86.
            _ => Architecture::Amd64,
        };
        requirements
            .into_iter()
            .map(|requirements| (architecture, requirements))
            .collect()
    }
}

/// The part of a template that is its price.
pub(super) const PRICE: &str = "price";

/// The image is named by a parameter of Systems Manager.
const RESOLVED: &str = "resolve:ssm:";

async fn describe_source(
    client: &Client,
    source: &Source,
) -> Result<Option<LaunchData>, CallError> {
    match source {
        Source::Configuration(name) => Ok(client
            .autoscaling()
            .describe_launch_configurations(std::slice::from_ref(name))
            .await?
            .into_iter()
            .next()
            .map(LaunchData::from)),
        Source::Template(template) => Ok(client
            .ec2()
            .describe_launch_template_version(
                template.id.as_deref(),
                template.name.as_deref(),
                version(template),
            )
            .await?
            .map(LaunchData::from)),
    }
}

async fn describe_image(client: &Client, id: &str) -> Result<Option<Image>, CallError> {
    let Some(parameter) = id.strip_prefix(RESOLVED) else {
        return client.ec2().describe_image(id).await;
    };
    match client.ssm().get_parameter(parameter).await? {
        Some(parameter) => client.ec2().describe_image(parameter.value.expose()).await,
        None => Ok(None),
    }
}

/// Puts several questions, some at a time. Answers come sorted by question.
pub(super) async fn ask<V, F: Future<Output = Result<Option<V>, CallError>>>(
    questions: Vec<String>,
    answer: impl Fn(&str) -> F,
) -> Vec<(String, Result<Option<V>, CallError>)> {
    let mut answers: Vec<_> = stream::iter(questions)
        .map(|question| {
            let asked = answer(&question);
            async move { (question, asked.await) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    answers.sort_by(|one, other| one.0.cmp(&other.0));
    answers
}

pub(super) fn keep<V>(
    memo: &mut Memo<V>,
    question: String,
    answer: Result<Option<V>, CallError>,
    now: Timestamp,
    good_for: Duration,
    report: &mut RefreshReport,
) {
    match answer {
        Ok(Some(answer)) => memo.answer(question, answer, now, good_for),
        Ok(None) => memo.fail(question, "AWS does not know it".to_owned(), now, CHANGING),
        Err(error) => {
            if memo.trouble(&question).is_none() {
                warn!(%question, %error, "cannot tell what a group launches");
            }
            memo.fail(question, error.to_string(), now, pause_after(&error));
            report.template_errors.push(error);
        }
    }
}

pub(super) fn pause_after(error: &CallError) -> Duration {
    match error.class() {
        ErrorClass::Denied | ErrorClass::NotFound | ErrorClass::Invalid => REFUSED,
        _ => TRANSIENT,
    }
}

fn is_updating(eks: &Nodegroup) -> bool {
    eks.status.as_deref() == Some("UPDATING")
}

fn nodegroup_key(name: &EksNodegroupName) -> String {
    format!("{}/{}", name.cluster, name.nodegroup)
}

fn requirements_key(architecture: Architecture, requirements: &InstanceRequirements) -> String {
    format!("{} {}", architecture.as_str(), requirements.fingerprint())
}

/// What an EKS node group's own tags say, which EKS does not copy to the Auto Scaling group.
fn eks_tags(eks: &Nodegroup) -> GroupTags {
    let tags: Vec<windlass_aws_client::autoscaling::Tag> = eks
        .tags
        .iter()
        .flatten()
        .map(|(key, value)| windlass_aws_client::autoscaling::Tag {
            key: key.clone(),
            value: value.clone(),
            propagate_at_launch: false,
        })
        .collect();
    GroupTags::read(&tags)
}

/// The group's tags, with the resources of the EKS node group's over them.
fn merged_tags(own: &GroupTags, eks: Option<&Nodegroup>) -> GroupTags {
    let mut merged = own.clone();
    if let Some(eks) = eks {
        for (name, amount) in eks_tags(eks).resources.iter() {
            merged.resources.insert(name.clone(), amount);
        }
    }
    merged
}
