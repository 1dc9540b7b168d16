//! Whether the instance types of a group are alike: the autoscaler reckons with the first. Pure.

use windlass_aws_client::ec2::InstanceTypeInfo;

/// By how much, in percent, two types may differ and still count as alike.
const TOLERANCE_PERCENT: u64 = 5;

/// The types of a group have different architectures: one image cannot be for all of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{one}` is {its} and `{other}` is {others}: name types of one architecture")]
pub struct Architectures {
    /// A type.
    pub one: String,
    /// Its architecture.
    pub its: String,
    /// A type of another.
    pub other: String,
    /// The other architecture.
    pub others: String,
}

/// What is to be said of a group's types, which are in the order of the file.
///
/// # Errors
///
/// Where they have different architectures.
pub(super) fn compare(types: &[InstanceTypeInfo]) -> Result<Vec<String>, Architectures> {
    let Some(first) = types.first() else {
        return Ok(Vec::new());
    };
    let mut unlike = Vec::new();
    for other in &types[1..] {
        if architecture(first) != architecture(other) {
            return Err(Architectures {
                one: first.instance_type.clone(),
                its: architecture(first).to_owned(),
                other: other.instance_type.clone(),
                others: architecture(other).to_owned(),
            });
        }
        for (what, its, others) in [
            (
                "vCPUs",
                u64::from(first.v_cpu.default_v_cpus),
                u64::from(other.v_cpu.default_v_cpus),
            ),
            (
                "MiB of memory",
                first.memory.size_in_mib,
                other.memory.size_in_mib,
            ),
        ] {
            if differ(its, others) {
                let smaller = if others < its {
                    "; put the smallest first, or pods are placed on nodes that have no room for them"
                } else {
                    ""
                };
                unlike.push(format!(
                    "`{}` has {others} {what} and `{}`, with which the autoscaler reckons, {its}{smaller}",
                    other.instance_type, first.instance_type
                ));
            }
        }
    }
    Ok(unlike)
}

/// The one to go by.
pub(super) fn architecture(info: &InstanceTypeInfo) -> &str {
    let known = info.processor.supported_architectures.first();
    known.map_or("of an unknown architecture", String::as_str)
}

fn differ(one: u64, other: u64) -> bool {
    let (small, large) = (one.min(other), one.max(other));
    large * TOLERANCE_PERCENT < (large - small) * 100
}

#[cfg(test)]
mod tests {
    use windlass_aws_client::ec2::{MemoryInfo, ProcessorInfo, VCpuInfo};

    use super::*;

    fn info(name: &str, v_cpus: u32, mib: u64, architecture: &str) -> InstanceTypeInfo {
        InstanceTypeInfo {
            instance_type: name.to_owned(),
            v_cpu: VCpuInfo {
                default_v_cpus: v_cpus,
            },
            memory: MemoryInfo { size_in_mib: mib },
            processor: ProcessorInfo {
                supported_architectures: vec![architecture.to_owned()],
            },
            ..InstanceTypeInfo::default()
        }
    }

    #[test]
    fn types_that_differ_by_more_than_the_tolerance_are_told() {
        let m5 = info("m5.large", 2, 8192, "x86_64");
        let alike = [m5.clone(), info("m6i.large", 2, 8000, "x86_64")];
        assert_eq!(compare(&alike), Ok(Vec::new()));
        let smaller = [m5.clone(), info("c5.large", 2, 4096, "x86_64")];
        let said = compare(&smaller).unwrap();
        assert!(
            said.len() == 1 && said[0].contains("smallest first"),
            "{said:?}"
        );
        let larger = [m5, info("m5.xlarge", 4, 16384, "x86_64")];
        let said = compare(&larger).unwrap();
        assert!(said.len() == 2 && !said[0].contains("smallest"), "{said:?}");
    }

    #[test]
    fn types_of_two_architectures_are_refused() {
        let mixed = [
            info("m5.large", 2, 8192, "x86_64"),
            info("m7g.large", 2, 8192, "arm64"),
        ];
        let error = compare(&mixed).unwrap_err();
        assert!(error.to_string().contains("`m7g.large` is arm64"));
    }
}
