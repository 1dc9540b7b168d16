//! Who this instance is.

use windlass_aws_client::metadata::InstanceMetadata;
use windlass_provision::join::{Identity, Metadata, NodeConfig, Phase};

use super::Stop;
use super::attempt::chain;

pub(super) async fn identify(config: &NodeConfig) -> Result<Identity, Stop> {
    let service = InstanceMetadata::new();
    let read = async |path: &str| {
        service.get(path).await.map_err(|error| {
            // The client has tried ten times.
            Stop::for_good(Phase::Identity, chain(&error))
        })
    };
    let metadata = Metadata {
        instance_id: read("instance-id").await?,
        region: read("placement/region").await?,
        zone: read("placement/availability-zone").await?,
        local_hostname: read("local-hostname").await?,
        local_ipv4: read("local-ipv4").await?,
        ipv6: read("ipv6").await?,
        instance_type: read("instance-type").await?,
        target_lifecycle_state: read("autoscaling/target-lifecycle-state").await?,
    };
    let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Identity::of(&metadata, config.node_name, &host_name)
        .map_err(|error| Stop::for_good(Phase::Identity, error.to_string()))
}
