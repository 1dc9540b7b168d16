//! Who this instance is.

use rand::RngExt as _;
use windlass_aws_client::metadata::InstanceMetadata;
use windlass_provision::join::{Identity, Metadata, Phase, backoff};

use super::attempt::chain;
use super::{Context, Stop};

/// How often the metadata service is asked for a value: at boot it may come after its callers.
const TRIES: u32 = 10;

pub(super) async fn identify(context: &Context<'_>) -> Result<Identity, Stop> {
    let service = InstanceMetadata::new();
    let read = async |path: &str| read(context, &service, path).await;
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
    Identity::of(&metadata, context.config.node_name, &host_name)
        .map_err(|error| Stop::for_good(Phase::Identity, error.to_string()))
}

/// A value of the metadata service; none where it has none. That it does not answer is waited out.
async fn read(
    context: &Context<'_>,
    service: &InstanceMetadata,
    path: &str,
) -> Result<Option<String>, Stop> {
    let mut number = 1;
    loop {
        // The client's own attempts may take longer than what is left for joining.
        let why = match tokio::time::timeout(context.time_left(), service.get(path)).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => chain(&error),
            Err(_) => format!("no answer in time from the instance metadata service for `{path}`"),
        };
        if number == TRIES || context.dry_run {
            return Err(Stop::for_good(Phase::Identity, why));
        }
        let pause = backoff(number, rand::rng().random());
        if context.time_left() <= pause {
            return Err(Stop::for_now(Phase::Identity, why));
        }
        context.report.say(&format!("try {number}: {why}"));
        tokio::time::sleep(pause).await;
        number += 1;
    }
}
