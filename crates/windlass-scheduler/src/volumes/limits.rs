use rustc_hash::FxHashSet;
use windlass_model::{
    CsiNode, Node, ObjectName, PersistentVolumeClaim, Pod, SmolStr, VolumeSource,
};

use super::migration::{self, Migrated};
use super::{VolumeCatalog, VolumePlan, class_of_claim};
use crate::rejection::Code;

/// `NodeVolumeLimits` of a pod. Source: `pkg/scheduler/framework/plugins/nodevolumelimits/csi.go`.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    countable: Vec<Countable>,
    /// In-tree volumes whose id cannot be translated, an error on nodes that would count them.
    unreadable: Vec<(&'static Migrated, SmolStr)>,
    /// Why the pod cannot be counted when it is to be placed.
    incoming_failure: Option<(Code, SmolStr)>,
    /// The same when it is on a node.
    existing_failure: Option<SmolStr>,
}

/// A volume that takes one of a driver's places on a node.
#[derive(Clone, Debug)]
struct Countable {
    driver: SmolStr,
    handle: Handle,
    /// The in-tree plugin that it came from.
    migrated_from: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Handle {
    Volume(SmolStr),
    /// Of a claim that is not bound yet.
    Claim(ObjectName),
}

impl Countable {
    fn counts_on(&self, csi_node: Option<&CsiNode>) -> bool {
        self.migrated_from
            .and_then(migration::of_provisioner)
            .is_none_or(|migrated| migrated.counts_on(csi_node))
    }
}

/// What the check says.
pub(crate) enum LimitsVerdict {
    Within,
    Exceeded,
    /// The driver of a volume is not on the node, and says that it must be.
    NotInstalled(SmolStr),
    Failed(Code, SmolStr),
}

impl Limits {
    pub(super) fn new(pod: &Pod, catalog: &VolumeCatalog) -> Self {
        let mut limits = Self {
            countable: Vec::new(),
            unreadable: Vec::new(),
            incoming_failure: None,
            existing_failure: None,
        };
        for volume in &pod.shape.constraints.volumes {
            if let VolumeSource::Inline(disk) = &volume.source {
                let Some(migrated) = migration::of_kind(disk.kind) else {
                    continue;
                };
                match migration::handle(disk) {
                    Some(handle) => limits.count(migrated, Handle::Volume(handle)),
                    None => limits.unreadable.push((
                        migrated,
                        format!("converting volume({}) from inline to csi", volume.name).into(),
                    )),
                }
                continue;
            }
            let Some(claim) = super::claim_of(pod, volume, catalog) else {
                continue;
            };
            if claim.name.is_empty() {
                let text = "PersistentVolumeClaim had no name".to_owned();
                limits.fail(Code::Error, text);
                continue;
            }
            let Some(object) = claim.claim else {
                let text = format!(
                    "looking up PVC {}/{}: {}",
                    pod.namespace(),
                    claim.name,
                    super::not_found("persistentvolumeclaim", &claim.name)
                );
                if limits.incoming_failure.is_none() {
                    let code = Code::UnschedulableAndUnresolvable;
                    limits.incoming_failure = Some((code, text.into()));
                }
                continue;
            };
            if claim.is_ephemeral && object.controller_uid != pod.uid {
                limits.fail(Code::Error, super::not_owner(pod, &claim.name));
                continue;
            }
            limits.countable.extend(countable(object, catalog));
        }
        limits
    }

    fn count(&mut self, migrated: &Migrated, handle: Handle) {
        self.countable.push(Countable {
            driver: SmolStr::new_static(migrated.driver),
            handle,
            migrated_from: Some(migrated.plugin),
        });
    }

    fn fail(&mut self, code: Code, text: String) {
        let text = SmolStr::from(text);
        self.existing_failure.get_or_insert_with(|| text.clone());
        self.incoming_failure.get_or_insert((code, text));
    }

    /// Whether some check on a node can fail.
    pub(crate) fn may_fail(&self) -> bool {
        self.incoming_failure.is_some() || !self.countable.is_empty() || !self.unreadable.is_empty()
    }

    /// Whether the node has room for the pod's volumes beside those of `others`.
    pub(crate) fn check<'a>(
        &self,
        node: &Node,
        csi_node: Option<&CsiNode>,
        others: impl Iterator<Item = &'a VolumePlan>,
        catalog: &VolumeCatalog,
        driver_must_be_there: bool,
    ) -> LimitsVerdict {
        if let Some((code, text)) = &self.incoming_failure {
            return LimitsVerdict::Failed(*code, text.clone());
        }
        if let Some(text) = self.unreadable_on(csi_node) {
            return LimitsVerdict::Failed(Code::Error, text.clone());
        }
        let mut fresh: Vec<(&SmolStr, &Handle)> = self.volumes_on(csi_node).collect();
        fresh.sort_unstable();
        fresh.dedup();
        if fresh.is_empty() {
            return LimitsVerdict::Within;
        }
        if driver_must_be_there {
            let missing = fresh
                .iter()
                .map(|(driver, _)| *driver)
                .find(|driver| !catalog.may_be_missing(driver) && !lists(csi_node, driver));
            if let Some(driver) = missing {
                return LimitsVerdict::NotInstalled(driver.clone());
            }
        }
        let limit = |driver: &str| {
            csi_node.and_then(|node| {
                // Of several entries for one driver the last that has a limit holds.
                let of_driver = |(name, limit): &(SmolStr, Option<_>)| {
                    if name == driver { *limit } else { None }
                };
                node.drivers.iter().rev().find_map(of_driver)
            })
        };
        let has_limits =
            csi_node.is_some_and(|node| node.drivers.iter().any(|(_, limit)| limit.is_some()));
        if !has_limits {
            return LimitsVerdict::Within;
        }
        let mut attached: FxHashSet<(&SmolStr, &Handle)> = FxHashSet::default();
        for other in others {
            let limits = &other.limits;
            let failure = limits.existing_failure.as_ref();
            if let Some(text) = failure.or_else(|| limits.unreadable_on(csi_node)) {
                return LimitsVerdict::Failed(Code::Error, text.clone());
            }
            attached.extend(other.limits.volumes_on(csi_node));
        }
        fresh.retain(|volume| !attached.contains(volume));
        let attachments = catalog.attached_to(&node.name);
        for (driver, handle) in &attachments {
            attached.insert((driver, handle));
        }
        let exceeds = |driver: &SmolStr, limit: i64| {
            let there = attached.iter().filter(|(d, _)| *d == driver).count();
            let more = fresh.iter().filter(|(d, _)| *d == driver).count();
            more > 0 && i64::try_from(there + more).unwrap_or(i64::MAX) > limit
        };
        if fresh
            .iter()
            .any(|(driver, _)| limit(driver).is_some_and(|l| exceeds(driver, l)))
        {
            LimitsVerdict::Exceeded
        } else {
            LimitsVerdict::Within
        }
    }

    fn unreadable_on(&self, csi_node: Option<&CsiNode>) -> Option<&SmolStr> {
        self.unreadable
            .iter()
            .find(|(migrated, _)| migrated.counts_on(csi_node))
            .map(|(_, text)| text)
    }

    fn volumes_on(&self, csi_node: Option<&CsiNode>) -> impl Iterator<Item = (&SmolStr, &Handle)> {
        self.countable
            .iter()
            .filter(move |volume| volume.counts_on(csi_node))
            .map(|volume| (&volume.driver, &volume.handle))
    }
}

impl VolumeCatalog {
    fn may_be_missing(&self, driver: &str) -> bool {
        !self
            .drivers
            .get(driver)
            .is_some_and(|driver| driver.prevents_scheduling_if_missing)
    }

    /// CSI volumes attached to the node, each once.
    fn attached_to(&self, node_name: &str) -> Vec<(SmolStr, Handle)> {
        let attachments = self.attachments.get(node_name).into_iter().flatten();
        attachments
            .filter_map(|attachment| {
                let volume = self.volumes.get(&attachment.volume_name)?;
                let (_, handle) = volume.csi.as_ref()?;
                Some((attachment.attacher.clone(), Handle::Volume(handle.clone())))
            })
            .collect()
    }
}

fn lists(csi_node: Option<&CsiNode>, driver: &str) -> bool {
    csi_node.is_some_and(|node| node.drivers.iter().any(|(name, _)| name == driver))
}

fn countable(claim: &PersistentVolumeClaim, catalog: &VolumeCatalog) -> Option<Countable> {
    let volume = (!claim.volume_name.is_empty())
        .then(|| catalog.volumes.get(&claim.volume_name))
        .flatten();
    let Some(volume) = volume else {
        return countable_by_class(claim, catalog);
    };
    let (driver, handle, migrated_from) = if let Some((driver, handle)) = &volume.csi {
        (driver.clone(), handle.clone(), None)
    } else {
        let disk = volume.in_tree.as_ref()?;
        let migrated = migration::of_kind(disk.kind)?;
        let driver = SmolStr::new_static(migrated.driver);
        (driver, migration::handle(disk)?, Some(migrated.plugin))
    };
    (!driver.is_empty() && !handle.is_empty()).then_some(Countable {
        driver,
        handle: Handle::Volume(handle),
        migrated_from,
    })
}

fn countable_by_class(claim: &PersistentVolumeClaim, catalog: &VolumeCatalog) -> Option<Countable> {
    let class = catalog.classes.get(class_of_claim(claim))?;
    let migrated = migration::of_provisioner(&class.provisioner);
    let driver = migrated.map_or_else(
        || class.provisioner.clone(),
        |migrated| SmolStr::new_static(migrated.driver),
    );
    (!driver.is_empty()).then(|| Countable {
        driver,
        handle: Handle::Claim(claim.name.clone()),
        migrated_from: migrated.map(|migrated| migrated.plugin),
    })
}
