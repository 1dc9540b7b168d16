//! Which image a group's instances are launched from, and on which device its root volume is.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use windlass_e2e::{expect, values};
use windlass_testbed::Testbed;

use crate::scene::{EC2, cluster_file, run};

/// A copy of an image of moto's, with tags.
fn image(testbed: &Testbed, name: &str, tags: &[(&str, &str)]) -> Result<String> {
    let aws = testbed.aws();
    let copy = [
        ("Name", name),
        ("SourceImageId", "ami-1e749f67"),
        ("SourceRegion", windlass_testbed::REGION),
    ];
    let copied = aws.query(EC2, "CopyImage", &copy)?;
    let id = values(&copied, "imageId").into_iter().next();
    let id = id.context("a copy")?;
    for &(key, value) in tags {
        let tag = [
            ("ResourceId.1", id.as_str()),
            ("Tag.1.Key", key),
            ("Tag.1.Value", value),
        ];
        aws.query(EC2, "CreateTags", &tag)?;
    }
    Ok(id)
}

fn planned(testbed: &Testbed) -> Result<Value> {
    let output = run(testbed, &["plan", "-o", "json"])?;
    expect(&output, 2, "")?;
    serde_json::from_slice(&output.stdout).context("a plan")
}

/// The new value of a field of the launch template, by its path.
fn of_template(plan: &Value, path: &str) -> Option<Value> {
    let mut changes = plan["changes"].as_array()?.iter();
    let template = changes.find(|change| change["kind"] == "launch-template")?;
    let mut fields = template["fields"].as_array()?.iter();
    Some(fields.find(|field| field["path"] == path)?["new"].clone())
}

#[test]
fn the_newest_image_is_one_that_can_be_used_and_is_not_another_clusters() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let tag = ("tier", "web");
    let own = image(testbed, "own", &[tag, ("windlass.dev/cluster", "prod")])?;
    image(
        testbed,
        "theirs",
        &[tag, ("windlass.dev/cluster", "staging")],
    )?;
    let unusable = image(testbed, "unusable", &[tag])?;
    let disable = [("ImageId", unusable.as_str())];
    testbed.aws().query(EC2, "DisableImage", &disable)?;
    let group = "  - {name: web, min: 0, max: 3, image: {tags: {tier: web}}}\n";
    cluster_file(testbed, group)?;
    let plan = planned(testbed)?;
    let found = of_template(&plan, "content.image_id");
    ensure!(found == Some(own.clone().into()), "{found:?} and not {own}");

    // Another cluster's is for who asks for it.
    let theirs = "{tier: web, windlass.dev/cluster: staging}";
    cluster_file(testbed, &group.replace("{tier: web}", theirs))?;
    let found = of_template(&planned(testbed)?, "content.image_id");
    ensure!(found.is_some_and(|id| id != own), "the own one again");
    Ok(())
}

#[test]
fn the_root_volume_is_on_the_images_own_device() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let group = "  - {name: web, min: 0, max: 3, rootVolume: {size: 100Gi, device: /dev/xvdz}}\n";
    cluster_file(testbed, group)?;
    let described = [("ImageId.1", "ami-1e749f67")];
    let described = testbed.aws().query(EC2, "DescribeImages", &described)?;
    let device = values(&described, "rootDeviceName").into_iter().next();
    let device = device.context("a root device")?;
    let plan = planned(testbed)?;
    let found = of_template(&plan, "content.volumes[0].device");
    ensure!(
        found == Some(device.clone().into()),
        "{found:?} and not {device}"
    );
    let size = of_template(&plan, "content.volumes[0].ebs.size_gib");
    ensure!(size == Some(100.into()), "{size:?}");

    cluster_file(
        testbed,
        "  - {name: web, min: 0, max: 3, image: {id: ami-00000000}}\n",
    )?;
    let refused = run(testbed, &["apply", "--yes"])?;
    expect(&refused, 1, "there is no image `ami-00000000`")?;
    Ok(())
}
