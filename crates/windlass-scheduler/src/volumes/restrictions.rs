use windlass_model::{InTreeKind, InlineVolume, Pod, SmolStr, VolumeSource};

use super::VolumeCatalog;

/// `VolumeRestrictions` of a pod. Source: `pkg/scheduler/framework/plugins/volumerestrictions`.
#[derive(Clone, Debug)]
pub(crate) struct Restrictions {
    /// Why `PreFilter` fails.
    pub(crate) failure: Option<SmolStr>,
    /// Its claims that only one pod of the cluster may use.
    pub(crate) exclusive_claims: Vec<SmolStr>,
    /// Its disks that pods of a node may be unable to share.
    pub(crate) disks: Vec<InlineVolume>,
}

impl Restrictions {
    pub(super) fn new(pod: &Pod, catalog: &VolumeCatalog) -> Self {
        let mut restrictions = Self {
            failure: None,
            exclusive_claims: Vec::new(),
            disks: disks(pod).cloned().collect(),
        };
        for claim in super::claims_of(pod, catalog).filter(|claim| !claim.is_ephemeral) {
            let Some(object) = claim.claim else {
                let text = super::not_found("persistentvolumeclaim", &claim.name);
                restrictions.failure = Some(text.into());
                break;
            };
            if object
                .access_modes
                .iter()
                .any(|mode| mode == "ReadWriteOncePod")
            {
                restrictions.exclusive_claims.push(claim.name);
            }
        }
        restrictions
    }
}

/// The inline volumes of a pod that may conflict with those of others.
pub(crate) fn disks(pod: &Pod) -> impl Iterator<Item = &InlineVolume> {
    pod.shape
        .constraints
        .volumes
        .iter()
        .filter_map(|volume| match &volume.source {
            VolumeSource::Inline(disk) if restricts(disk.kind) => Some(disk),
            _ => None,
        })
}

fn restricts(kind: InTreeKind) -> bool {
    matches!(
        kind,
        InTreeKind::GcePersistentDisk
            | InTreeKind::AwsElasticBlockStore
            | InTreeKind::Iscsi
            | InTreeKind::Rbd
    )
}

/// Whether two pods cannot have these on one node.
pub(crate) fn conflict(a: &InlineVolume, b: &InlineVolume) -> bool {
    if a.kind != b.kind {
        return false;
    }
    let one_writes = !(a.read_only && b.read_only);
    match a.kind {
        InTreeKind::AwsElasticBlockStore => a.handle == b.handle,
        InTreeKind::GcePersistentDisk | InTreeKind::Iscsi => one_writes && a.handle == b.handle,
        InTreeKind::Rbd => {
            one_writes
                && a.rbd_pool_and_image == b.rbd_pool_and_image
                && a.rbd_monitors
                    .iter()
                    .any(|monitor| b.rbd_monitors.contains(monitor))
        }
        _ => false,
    }
}
