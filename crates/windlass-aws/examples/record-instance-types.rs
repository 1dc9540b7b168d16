//! Records what EC2 says of its instance types, for `cargo xtask gen` to make the table of:
//! `cargo run -p windlass-aws --example record-instance-types -- "SOURCE, DATE" > crates/windlass-aws/data/instance-types.jsonl`

#![expect(clippy::print_stdout, reason = "the record goes to standard output")]

use std::time::Duration;

use serde_json::{Value, json};
use windlass_aws_client::ec2::{Accelerator, InstanceTypeInfo};
use windlass_aws_client::{Client, Options};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = std::env::args()
        .nth(1)
        .ok_or("say where the figures come from and of which date they are")?;
    let client = Client::connect(Options {
        attempt_timeout: Duration::from_mins(1),
        total_timeout: Duration::from_mins(5),
        ..Options::default()
    })
    .await?;
    let mut types = client.ec2().describe_all_instance_types().await?;
    types.sort_by(|one, other| one.instance_type.cmp(&other.instance_type));
    println!(
        "# What EC2 answered to DescribeInstanceTypes, a line for each type, in the answer's own \
         words, as far as they are read."
    );
    println!("# Source: {source}");
    println!("# A newer one: crates/windlass-aws/examples/record-instance-types.rs");
    for info in &types {
        println!("{}", record(info));
    }
    Ok(())
}

/// The answer as it was read, in the answer's words.
fn record(info: &InstanceTypeInfo) -> Value {
    let cards: Vec<Value> = info
        .network
        .network_cards
        .iter()
        .map(|card| {
            json!({
                "networkCardIndex": card.network_card_index,
                "maximumNetworkInterfaces": card.maximum_network_interfaces,
            })
        })
        .collect();
    let mut record = json!({
        "instanceType": info.instance_type,
        "vCpuInfo": {"defaultVCpus": info.v_cpu.default_v_cpus},
        "memoryInfo": {"sizeInMiB": info.memory.size_in_mib},
        "processorInfo": {
            "supportedArchitectures": {"item": info.processor.supported_architectures},
        },
        "networkInfo": {
            "maximumNetworkInterfaces": info.network.maximum_network_interfaces,
            "defaultNetworkCardIndex": info.network.default_network_card_index,
            "networkCards": {"item": cards},
            "ipv4AddressesPerInterface": info.network.ipv4_addresses_per_interface,
        },
    });
    if let Some(efa) = info.network.efa_info {
        record["networkInfo"]["efaInfo"] =
            json!({"maximumEfaInterfaces": efa.maximum_efa_interfaces});
    }
    if let Some(gpu) = &info.gpu {
        record["gpuInfo"] = json!({"gpus": {"item": accelerators(&gpu.gpus)}});
    }
    if let Some(neuron) = &info.neuron {
        record["neuronInfo"] =
            json!({"neuronDevices": {"item": accelerators(&neuron.neuron_devices)}});
    }
    if let Some(storage) = info.instance_storage {
        record["instanceStorageInfo"] = json!({"totalSizeInGB": storage.total_size_in_gb});
    }
    if let Some(most) = info.ebs.maximum_ebs_attachments {
        record["ebsInfo"] = json!({
            "maximumEbsAttachments": most,
            "attachmentLimitType": info.ebs.attachment_limit_type,
        });
    }
    record
}

fn accelerators(devices: &[Accelerator]) -> Vec<Value> {
    let record = |device: &Accelerator| {
        let mut record = json!({"name": device.name, "count": device.count});
        if let Some(manufacturer) = &device.manufacturer {
            record["manufacturer"] = json!(manufacturer);
        }
        if let Some(cores) = device.core_info {
            record["coreInfo"] = json!({"count": cores.count});
        }
        record
    };
    devices.iter().map(record).collect()
}
