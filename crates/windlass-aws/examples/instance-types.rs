//! Makes the table of instance types that is built in, from EC2's own answer:
//! `cargo run -p windlass-aws --example instance-types -- "SOURCE, DATE" > src/instance_type/table.csv`

#![expect(clippy::print_stdout, reason = "the table goes to standard output")]

use std::time::Duration;

use windlass_aws::instance_type::InstanceType;
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
    println!("# Instance types of EC2. Source: {source}");
    println!(
        "# name,vCPUs,memory in MiB,architecture,network interfaces,IPv4 addresses of each,\
         accelerators,GPU model,local storage in GB"
    );
    for info in &types {
        println!("{}", InstanceType::of(info).to_line());
    }
    Ok(())
}
