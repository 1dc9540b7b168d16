//! Instance types: what each offers to pods. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use windlass_aws_client::ec2::{EbsInfo, InstanceTypeInfo};
use windlass_model::Duration;

use crate::schedule::later;

/// The table that is built in: every type that EC2 offered on its date. Made by `cargo xtask gen`
/// from `data/instance-types.jsonl`, which is a record of EC2's answer.
const TABLE: &str = include_str!("instance_type/table.csv");

/// How long what EC2 said of a type is good for, and how long a type that it does not know is
/// not asked for again.
const GOOD_FOR: Duration = Duration::from_hours(24);
const UNKNOWN_FOR: Duration = Duration::from_mins(10);

/// A machine's architecture, in Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// x86, 64 bits.
    Amd64,
    /// Arm, 64 bits.
    Arm64,
}

impl Architecture {
    /// As the label `kubernetes.io/arch` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As EC2 names it.
    pub fn ec2_name(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }
}

/// An instance type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceType {
    /// Its name, such as `m5.large`.
    pub name: String,
    /// Virtual processors.
    pub v_cpus: u32,
    /// Memory in MiB, as EC2 counts it: the kernel keeps some.
    pub memory_mib: u64,
    /// Architecture.
    pub architecture: Architecture,
    /// Most network interfaces of its first network card, the one that pods' addresses are on.
    pub network_interfaces: u32,
    /// IPv4 addresses of each.
    pub ipv4_per_interface: u32,
    /// Accelerators under the names that their device plugins give them, with counts.
    pub accelerators: BTreeMap<String, u32>,
    /// Model of the GPU, if there is one.
    pub gpu_model: Option<String>,
    /// Local disks together, in GB.
    pub local_storage_gb: u64,
    /// Most volumes of EBS besides the root volume, by EC2's figures; none where it tells none.
    pub volumes: Option<u32>,
}

impl InstanceType {
    /// Of EC2's description.
    pub fn of(info: &InstanceTypeInfo) -> Self {
        let mut accelerators = BTreeMap::new();
        let mut gpu_model = None;
        for gpu in info.gpu.iter().flat_map(|info| &info.gpus) {
            let resource = match gpu.manufacturer.as_deref() {
                Some("AMD") => "amd.com/gpu",
                Some("Habana") => "habana.ai/gaudi",
                // NVIDIA's, and what EC2 may still invent: it was always NVIDIA's so far.
                _ => "nvidia.com/gpu",
            };
            // Sizes with a part of a GPU count as none; what they offer pods is one device.
            *accelerators.entry(resource.to_owned()).or_default() += gpu.count.max(1);
            gpu_model.get_or_insert_with(|| gpu.name.clone());
        }
        for device in info.neuron.iter().flat_map(|info| &info.neuron_devices) {
            let cores = device.core_info.map_or(0, |cores| cores.count);
            *accelerators
                .entry("aws.amazon.com/neuron".to_owned())
                .or_default() += device.count;
            *accelerators
                .entry("aws.amazon.com/neuroncore".to_owned())
                .or_default() += device.count * cores;
        }
        if let Some(efa) = info.network.efa_info {
            accelerators.insert(EFA.to_owned(), efa.maximum_efa_interfaces);
        }
        let is_arm = info
            .processor
            .supported_architectures
            .first()
            .is_some_and(|first| first.starts_with("arm64"));
        Self {
            name: info.instance_type.clone(),
            v_cpus: info.v_cpu.default_v_cpus,
            memory_mib: info.memory.size_in_mib,
            architecture: if is_arm {
                Architecture::Arm64
            } else {
                Architecture::Amd64
            },
            network_interfaces: info
                .network
                .network_cards
                .iter()
                .find(|card| card.network_card_index == info.network.default_network_card_index)
                .map_or(info.network.maximum_network_interfaces, |card| {
                    card.maximum_network_interfaces
                }),
            ipv4_per_interface: info.network.ipv4_addresses_per_interface,
            accelerators,
            gpu_model,
            local_storage_gb: info
                .instance_storage
                .map_or(0, |storage| storage.total_size_in_gb),
            volumes: volumes(&info.ebs),
        }
    }

    /// One line of the table.
    pub fn to_line(&self) -> String {
        let mut line = format!(
            "{},{},{},{},{},{},",
            self.name,
            self.v_cpus,
            self.memory_mib,
            self.architecture.as_str(),
            self.network_interfaces,
            self.ipv4_per_interface
        );
        let accelerators: Vec<String> = self
            .accelerators
            .iter()
            .map(|(resource, count)| format!("{resource}={count}"))
            .collect();
        // Writing into a String cannot fail.
        let _ = write!(
            line,
            "{},{},{},{}",
            accelerators.join(";"),
            self.gpu_model.as_deref().unwrap_or_default(),
            self.local_storage_gb,
            self.volumes
                .map(|volumes| volumes.to_string())
                .unwrap_or_default()
        );
        line
    }

    /// Reads [`Self::to_line`].
    fn from_line(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(',').collect();
        let [
            name,
            v_cpus,
            memory,
            architecture,
            interfaces,
            addresses,
            accelerators,
            gpu,
            storage,
            volumes,
        ] = fields[..]
        else {
            return None;
        };
        Some(Self {
            name: name.to_owned(),
            v_cpus: v_cpus.parse().ok()?,
            memory_mib: memory.parse().ok()?,
            architecture: match architecture {
                "amd64" => Architecture::Amd64,
                "arm64" => Architecture::Arm64,
                _ => return None,
            },
            network_interfaces: interfaces.parse().ok()?,
            ipv4_per_interface: addresses.parse().ok()?,
            accelerators: accelerators
                .split(';')
                .filter(|entry| !entry.is_empty())
                .map(|entry| {
                    let (resource, count) = entry.split_once('=')?;
                    Some((resource.to_owned(), count.parse().ok()?))
                })
                .collect::<Option<_>>()?,
            gpu_model: Some(gpu.to_owned()).filter(|gpu| !gpu.is_empty()),
            local_storage_gb: storage.parse().ok()?,
            volumes: match volumes {
                "" => None,
                volumes => Some(volumes.parse().ok()?),
            },
        })
    }

    /// Pods that its network interfaces have addresses for, when each pod gets one of its own:
    /// what the images of EKS set as the kubelet's limit.
    pub fn eni_max_pods(&self) -> u32 {
        self.network_interfaces * self.ipv4_per_interface.saturating_sub(1) + 2
    }
}

/// What EC2's figure leaves for volumes: one is the root volume; where network interfaces take
/// their share of the same number, EC2 has counted the first of them, and pods' addresses take a
/// second soon after the boot.
fn volumes(ebs: &EbsInfo) -> Option<u32> {
    let taken = if ebs.attachment_limit_type.as_deref() == Some("dedicated") {
        1
    } else {
        2
    };
    Some(ebs.maximum_ebs_attachments?.saturating_sub(taken))
}

/// Elastic fabric adapters, under their device plugin's name.
pub(crate) const EFA: &str = "vpc.amazonaws.com/efa";

static BUILT_IN: LazyLock<BTreeMap<&'static str, Arc<InstanceType>>> = LazyLock::new(|| {
    TABLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let known = InstanceType::from_line(line)?;
            Some((line.split_once(',')?.0, Arc::new(known)))
        })
        .collect()
});

/// All types known: what EC2 has said, and the table for the rest.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    heard: BTreeMap<String, Heard>,
    unknown: BTreeMap<String, Timestamp>,
    /// Until when EC2 is not asked, because it may not be or cannot be.
    silent_until: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Heard {
    instance_type: Arc<InstanceType>,
    at: Timestamp,
}

impl Catalogue {
    /// A type by its name.
    pub fn get(&self, name: &str) -> Option<Arc<InstanceType>> {
        self.heard
            .get(name)
            .map(|heard| Arc::clone(&heard.instance_type))
            .or_else(|| BUILT_IN.get(name).cloned())
    }

    /// Which of these types EC2 is to be asked about: those in no table first of all, and those
    /// that it was last asked about a day ago.
    pub fn to_ask<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
        now: Timestamp,
    ) -> Vec<String> {
        if self.silent_until.is_some_and(|until| now < until) {
            return Vec::new();
        }
        names
            .into_iter()
            .filter(|name| {
                let fresh = |at: Option<&Timestamp>, good_for| {
                    at.is_some_and(|at| now < later(*at, good_for))
                };
                !fresh(self.heard.get(*name).map(|heard| &heard.at), GOOD_FOR)
                    && !fresh(self.unknown.get(*name), UNKNOWN_FOR)
            })
            .map(ToOwned::to_owned)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Takes in an answer of EC2's to a question about these types.
    pub fn hear(&mut self, asked: &[String], answer: &[InstanceTypeInfo], now: Timestamp) {
        for name in asked {
            self.unknown.insert(name.clone(), now);
        }
        for info in answer {
            let heard = Heard {
                instance_type: Arc::new(InstanceType::of(info)),
                at: now,
            };
            self.unknown.remove(&info.instance_type);
            self.heard.insert(info.instance_type.clone(), heard);
        }
    }

    /// Notes that EC2 is not to be asked for a while.
    pub fn fall_silent(&mut self, until: Timestamp) {
        self.silent_until = Some(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// `cargo xtask gen`.
    #[test]
    fn generated_table_of_instance_types_is_up_to_date() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
        let record = std::fs::read_to_string(format!("{root}data/instance-types.jsonl")).unwrap();
        let source = record
            .lines()
            .find_map(|line| line.strip_prefix("# Source: "))
            .unwrap();
        let mut table = format!(
            "# Instance types of EC2. Made by `cargo xtask gen` from data/instance-types.jsonl.\n\
             # Source: {source}\n\
             # name,vCPUs,memory in MiB,architecture,network interfaces,IPv4 addresses of each,\
             accelerators,GPU model,local storage in GB,EBS volumes besides the root\n"
        );
        for line in record.lines().filter(|line| !line.starts_with('#')) {
            let info: InstanceTypeInfo = serde_json::from_str(line).unwrap();
            table.push_str(&InstanceType::of(&info).to_line());
            table.push('\n');
        }
        let path = format!("{root}src/instance_type/table.csv");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, table).unwrap();
        } else {
            assert!(table == TABLE, "the table is stale: run `cargo xtask gen`");
        }
    }

    #[test]
    fn volumes_share_their_number_with_network_interfaces_or_do_not() {
        let of = |name: &str| Catalogue::default().get(name).unwrap().volumes;
        // 27 and 32 by EC2's figures.
        assert_eq!((of("m5.large"), of("m7i.large")), (Some(25), Some(31)));
    }

    #[test]
    fn every_line_of_the_table_is_read() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#')).count();
        assert!(lines > 1000);
        assert_eq!(BUILT_IN.len(), lines);
        for (name, known) in BUILT_IN.iter() {
            assert!(known.v_cpus > 0 && known.memory_mib > 0, "{name}");
        }
    }

    #[test]
    fn well_known_types_are_as_aws_documents_them() {
        let catalogue = Catalogue::default();
        let get = |name: &str| catalogue.get(name).unwrap();
        let m5 = get("m5.large");
        assert_eq!((m5.v_cpus, m5.memory_mib, m5.eni_max_pods()), (2, 8192, 29));
        assert_eq!(get("t3.medium").eni_max_pods(), 17);
        assert_eq!(get("m6g.large").architecture, Architecture::Arm64);
        let g4 = get("g4dn.xlarge");
        assert_eq!(g4.accelerators["nvidia.com/gpu"], 1);
        assert_eq!(g4.gpu_model.as_deref(), Some("T4"));
        assert_eq!(get("p4d.24xlarge").accelerators["nvidia.com/gpu"], 8);
        let trn1 = get("trn1.32xlarge");
        assert_eq!(trn1.accelerators["aws.amazon.com/neuron"], 16);
        assert_eq!(trn1.accelerators["aws.amazon.com/neuroncore"], 32);
        assert_eq!(trn1.accelerators[EFA], 8);
        // Eight cards, of which only the first carries pods.
        assert_eq!(trn1.eni_max_pods(), 247);
    }

    #[test]
    fn a_line_survives_its_own_reading() {
        let trn1 = Catalogue::default().get("trn1.32xlarge").unwrap();
        assert_eq!(
            InstanceType::from_line(&trn1.to_line()).as_ref(),
            Some(&*trn1)
        );
    }

    /// Point 13 of the acceptance checklist, as far as the catalogue decides.
    #[test]
    fn checklist_13_an_unknown_type_is_asked_for_again_and_learned() {
        let mut catalogue = Catalogue::default();
        let names = ["x99.large", "m5.large"];
        assert_eq!(catalogue.to_ask(names, at(0)), ["m5.large", "x99.large"]);
        catalogue.hear(&["x99.large".to_owned()], &[], at(0));
        assert!(catalogue.get("x99.large").is_none());
        assert!(catalogue.to_ask(["x99.large"], at(599)).is_empty());
        assert_eq!(catalogue.to_ask(["x99.large"], at(600)), ["x99.large"]);
        let mut info = InstanceTypeInfo {
            instance_type: "x99.large".to_owned(),
            ..InstanceTypeInfo::default()
        };
        info.v_cpu.default_v_cpus = 2;
        catalogue.hear(&["x99.large".to_owned()], &[info], at(600));
        assert_eq!(catalogue.get("x99.large").unwrap().v_cpus, 2);
        assert!(catalogue.to_ask(["x99.large"], at(3600)).is_empty());
        assert_eq!(
            catalogue.to_ask(["x99.large"], at(600 + 86_400)),
            ["x99.large"]
        );
    }
}
