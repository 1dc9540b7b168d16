//! What outlives a restart, as the bytes that the status `ConfigMap` holds.

use serde::{Deserialize, Serialize};
use windlass_core::Memory;

/// The form of the bytes: JSON with this number, deflated.
const VERSION: u32 = 1;
/// A `ConfigMap` holds 1 MiB, of which base64 leaves three quarters, and the status needs room.
const LARGEST: usize = 512 * 1024;
/// More than this is not what was written.
const LARGEST_INFLATED: usize = 64 * 1024 * 1024;
/// Fast, and small enough.
const DEFLATE_LEVEL: u8 = 6;

#[derive(Serialize)]
struct Envelope<'a> {
    version: u32,
    memory: &'a Memory,
}

#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
}

#[derive(Deserialize)]
struct Contents {
    memory: Memory,
}

/// Why what was left cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemoryError {
    /// The bytes are not deflated data.
    #[error("not deflated data")]
    Inflate,
    /// A program newer than this wrote them.
    #[error("written in form {0}, which this program does not know")]
    Version(u32),
    /// The JSON does not say what it should.
    #[error("not as expected: {0}")]
    Json(#[from] serde_json::Error),
}

/// The bytes of `memory`. Where they would be too many, the parts that only save work or time
/// are left out, in this order: verdicts of unremovable nodes, since when nodes are unneeded.
/// What was asked of the cloud and which nodes are being removed is never left out.
pub(crate) fn encode(memory: &Memory) -> Result<Vec<u8>, MemoryError> {
    encode_within(memory, LARGEST)
}

fn encode_within(memory: &Memory, largest: usize) -> Result<Vec<u8>, MemoryError> {
    let bytes = deflated(memory)?;
    if bytes.len() <= largest {
        return Ok(bytes);
    }
    let mut smaller = memory.clone();
    smaller.unremovable.clear();
    let bytes = deflated(&smaller)?;
    if bytes.len() <= largest {
        return Ok(bytes);
    }
    smaller.unneeded_since.clear();
    deflated(&smaller)
}

fn deflated(memory: &Memory) -> Result<Vec<u8>, MemoryError> {
    let envelope = Envelope {
        version: VERSION,
        memory,
    };
    let json = serde_json::to_vec(&envelope)?;
    Ok(miniz_oxide::deflate::compress_to_vec(&json, DEFLATE_LEVEL))
}

/// What [`encode`] made bytes of.
pub(crate) fn decode(bytes: &[u8]) -> Result<Memory, MemoryError> {
    let json = miniz_oxide::inflate::decompress_to_vec_with_limit(bytes, LARGEST_INFLATED)
        .map_err(|_| MemoryError::Inflate)?;
    let AnyVersion { version } = serde_json::from_slice(&json)?;
    if version != VERSION {
        return Err(MemoryError::Version(version));
    }
    let Contents { memory } = serde_json::from_slice(&json)?;
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use windlass_core::{Room, UnremovableReason, Verdict};
    use windlass_model::{SmolStr, Timestamp};

    use super::*;

    /// A memory of a cluster of so many nodes.
    fn remembering(nodes: i64) -> Memory {
        let mut memory = Memory {
            last_scale_up: Some(Timestamp::UNIX_EPOCH),
            ..Memory::default()
        };
        for i in 0..nodes {
            let name = SmolStr::from(format!("ip-10-0-{}-{}.ec2.internal", i / 256, i % 256));
            let at = Timestamp::from_nanosecond(i128::from(i) * 7_919_000_017).unwrap();
            memory.unneeded_since.insert(name.clone(), at);
            // The digests are as random as real ones.
            let verdict = Verdict {
                until: at,
                reason: UnremovableReason::NoPlaceToMovePods,
                pods: u64::try_from(i)
                    .unwrap()
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15),
                room: Room::default(),
            };
            memory.unremovable.insert(name, verdict);
        }
        memory
    }

    #[test]
    fn a_memory_survives() {
        let memory = remembering(3);
        assert_eq!(decode(&encode(&memory).unwrap()).unwrap(), memory);
    }

    #[test]
    fn five_thousand_nodes_fit() {
        assert!(encode(&remembering(5000)).unwrap().len() < LARGEST);
    }

    #[test]
    fn what_only_saves_work_goes_first() {
        let memory = remembering(100);
        let whole = encode(&memory).unwrap().len();
        let smaller = decode(&encode_within(&memory, whole - 1).unwrap()).unwrap();
        assert!(smaller.unremovable.is_empty());
        assert_eq!(smaller.unneeded_since, memory.unneeded_since);
        let smallest = decode(&encode_within(&memory, 1).unwrap()).unwrap();
        assert!(smallest.unneeded_since.is_empty());
        assert_eq!(smallest.last_scale_up, memory.last_scale_up);
    }

    #[test]
    fn what_cannot_be_read_is_told_apart() {
        assert!(matches!(decode(b"nonsense"), Err(MemoryError::Inflate)));
        let newer = miniz_oxide::deflate::compress_to_vec(br#"{"version":2}"#, 6);
        assert!(matches!(decode(&newer), Err(MemoryError::Version(2))));
        let broken = miniz_oxide::deflate::compress_to_vec(br#"{"version":1,"memory":3}"#, 6);
        assert!(matches!(decode(&broken), Err(MemoryError::Json(_))));
    }
}
