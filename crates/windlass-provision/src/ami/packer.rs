//! The same script as a template of Packer (HCL2), for teams that have a pipeline of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::build::image_tags;
use super::recipe::Recipe;
use crate::cluster_config::{ClusterConfig, RootVolume, SourceReference};

/// The account that publishes Ubuntu's images.
const CANONICAL: &str = "099720109477";
/// The root device of its images.
const UBUNTU_ROOT: &str = "/dev/sda1";

/// Which Packer is to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// 1.7 and newer, whose plugins are declared.
    Current,
    /// 1.6, which has the Amazon builder inside, and knows neither plugins nor the settings of the
    /// metadata service: to validate a template offline.
    V1_6,
}

/// Name of the script beside the template.
pub const SCRIPT: &str = "provision.sh";

/// The template, `windlass.pkr.hcl`.
pub fn template(config: &ClusterConfig, recipe: &Recipe, syntax: Syntax) -> String {
    let source = source(config, recipe, syntax);
    let plugins = match syntax {
        Syntax::Current => {
            "packer {\n  required_plugins {\n    amazon = {\n      source  = \
             \"github.com/hashicorp/amazon\"\n      version = \">= 1.3.0\"\n    }\n  }\n}\n\n"
        }
        Syntax::V1_6 => "",
    };
    format!(
        "# Builds the nodes' image of cluster {cluster}. Rendered by windlass.\n\n{plugins}{variables}\
         source \"amazon-ebs\" \"node\" {{\n{source}}}\n\nbuild {{\n  sources = \
         [\"source.amazon-ebs.node\"]\n\n  provisioner \"shell\" {{\n    script          = \
         \"${{path.root}}/{SCRIPT}\"\n    execute_command = \"sudo env \
         {{{{ .Vars }}}} bash '{{{{ .Path }}}}'\"\n  }}\n\n  \
         provisioner \"shell\" {{\n    inline = [\"sudo /usr/local/bin/windlass ami check --live \
         --hygiene\"]\n  }}\n\n  post-processor \"manifest\" {{\n    output = \"manifest.json\"\n  \
         }}\n}}\n",
        cluster = recipe.cluster,
        variables = variables(recipe, syntax),
    )
}

/// Whether it starts from one of Canonical's images, whose user and root device are others than
/// Debian's.
fn is_ubuntu(recipe: &Recipe) -> bool {
    let source = recipe.ami.source.reference();
    matches!(source, Some(SourceReference::Newest { owner, .. }) if owner == CANONICAL)
}

fn variables(recipe: &Recipe, syntax: Syntax) -> String {
    let user = if is_ubuntu(recipe) { "ubuntu" } else { "admin" };
    let mut text = format!(
        "variable \"ssh_username\" {{\n  type    = string\n  default = \"{user}\"\n}}\n\n\
         # Packer's own instance is reached over SSH; `session_manager` needs no open port.\n\
         variable \"ssh_interface\" {{\n  type    = string\n  default = \"public_ip\"\n}}\n\n"
    );
    if syntax == Syntax::Current {
        text += "# For pull requests: build, check, and make no image.\n\
            variable \"skip_create_ami\" {\n  type    = bool\n  default = false\n}\n\n";
    }
    if let Some(SourceReference::Parameter(parameter)) = recipe.ami.source.reference() {
        // Writing into a String cannot fail.
        let _ = write!(
            text,
            "# The value of the parameter {parameter}: packer build -var \"source_ami=$(aws ssm \
             get-parameter --name {parameter} --query Parameter.Value --output text)\"\n\
             variable \"source_ami\" {{\n  type = string\n}}\n\n"
        );
    }
    text
}

/// The arguments of the builder, in the order in which they are written.
fn source(config: &ClusterConfig, recipe: &Recipe, syntax: Syntax) -> String {
    let ami = &recipe.ami;
    let builder = &ami.builder;
    let volume = &builder.root_volume;
    let publish = &ami.publish;
    let mut block = Block::default();
    block.text("region", &config.spec.region);
    block.text("ami_name", &recipe.image_name());
    block.text(
        "ami_description",
        &format!("Kubernetes v{} nodes", recipe.kubernetes.version),
    );
    match ami.source.reference() {
        Some(SourceReference::Id(id)) => block.text("source_ami", id),
        Some(SourceReference::Parameter(_)) => block.raw("source_ami", "var.source_ami"),
        Some(SourceReference::Newest { owner, name }) => {
            let _ = write!(
                block.0,
                "  source_ami_filter {{\n    filters = {{\n      name                = {}\n      \
                 architecture        = {}\n      root-device-type    = \"ebs\"\n      \
                 virtualization-type = \"hvm\"\n    }}\n    owners      = [{}]\n    most_recent = \
                 true\n  }}\n",
                quoted(name),
                quoted(ami.architecture.ec2_name()),
                quoted(owner)
            );
        }
        None => {}
    }
    let own_type = ami.architecture.builder_type();
    block.text(
        "instance_type",
        builder.instance_type.as_deref().unwrap_or(own_type),
    );
    if let Some(subnet) = super::build::subnet(config, ami) {
        block.text("subnet_id", subnet);
    }
    block.raw("ssh_username", "var.ssh_username");
    block.raw("ssh_interface", "var.ssh_interface");
    block.raw("encrypt_boot", "true");
    if let Some(key) = &volume.kms_key {
        block.text("kms_key_id", key);
    }
    if !publish.copies.is_empty() {
        let regions: Vec<&str> = publish.copies.iter().map(|it| it.region.as_str()).collect();
        block.list("ami_regions", &regions);
        // All or none: Packer wants a key for every region once one has its own.
        if publish.copies.iter().any(|copy| copy.kms_key.is_some()) {
            let keys = publish.copies.iter().map(|copy| {
                let key = copy.kms_key.clone().unwrap_or_default();
                (copy.region.clone(), key)
            });
            block.map("region_kms_key_ids", &keys.collect());
        }
    }
    if !publish.accounts.is_empty() {
        let accounts: Vec<&str> = publish.accounts.iter().map(String::as_str).collect();
        block.list("ami_users", &accounts);
    }
    let is_usual = volume.device == RootVolume::default().device;
    let device = if is_usual && is_ubuntu(recipe) {
        UBUNTU_ROOT
    } else {
        &volume.device
    };
    block.launch_volume(volume, device);
    let tags = image_tags(config, recipe);
    block.map("run_tags", &tags);
    block.map("tags", &tags);
    block.map("snapshot_tags", &tags);
    if syntax == Syntax::Current {
        block.raw("skip_create_ami", "var.skip_create_ami");
        block.text("imds_support", "v2.0");
        if let Some(after) = publish.deprecate_after {
            let hours = after.duration().as_secs() / 3600;
            block.raw(
                "deprecate_at",
                &format!("timeadd(timestamp(), \"{hours}h\")"),
            );
        }
        block.0 += "  metadata_options {\n    http_endpoint               = \"enabled\"\n    \
            http_tokens                 = \"required\"\n    http_put_response_hop_limit = 1\n  }\n";
    }
    block.0
}

/// Arguments of a block.
#[derive(Default)]
struct Block(String);

impl Block {
    fn raw(&mut self, name: &str, value: &str) {
        // Writing into a String cannot fail.
        let _ = writeln!(self.0, "  {name} = {value}");
    }

    fn text(&mut self, name: &str, value: &str) {
        self.raw(name, &quoted(value));
    }

    fn list(&mut self, name: &str, values: &[&str]) {
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        self.raw(name, &format!("[{}]", values.join(", ")));
    }

    fn map(&mut self, name: &str, values: &BTreeMap<String, String>) {
        let mut text = "{\n".to_owned();
        for (key, value) in values {
            let _ = writeln!(text, "    {} = {}", quoted(key), quoted(value));
        }
        self.raw(name, &(text + "  }"));
    }

    fn launch_volume(&mut self, volume: &RootVolume, device: &str) {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "    {name} = {value}");
        };
        line("device_name", quoted(device));
        line("volume_type", quoted(&volume.kind));
        line("volume_size", volume.size.gib.to_string());
        line("delete_on_termination", "true".to_owned());
        if let Some(iops) = volume.iops {
            line("iops", iops.to_string());
        }
        // Without the number, Packer 1.6 refuses a gp3: 125 is what it has anyway.
        let throughput = volume.throughput.or((volume.kind == "gp3").then_some(125));
        if let Some(throughput) = throughput {
            line("throughput", throughput.to_string());
        }
        let _ = write!(self.0, "  launch_block_device_mappings {{\n{text}  }}\n");
    }
}

/// A text in HCL, in which nothing is a template.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    let escaped = escaped.replace("${", "$${").replace("%{", "%%{");
    format!("\"{}\"", escaped.replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_for_1_6_lacks_what_it_does_not_know_and_nothing_else() {
        let example = include_str!("../../../../examples/cluster.yaml");
        let config = ClusterConfig::read("examples/cluster.yaml", example).unwrap();
        let recipe = Recipe::of(&config).unwrap();
        let current = template(&config, &recipe, Syntax::Current);
        let old = template(&config, &recipe, Syntax::V1_6);
        for line in old.lines() {
            assert!(current.lines().any(|it| it == line), "{line}");
        }
        for word in [
            "required_plugins",
            "metadata_options",
            "imds_support",
            "deprecate_at = timeadd(timestamp(), \"2160h\")",
        ] {
            assert!(current.contains(word) && !old.contains(word), "{word}");
        }
        assert!(current.contains("most_recent = true"));
    }

    #[test]
    fn no_text_is_a_template() {
        assert_eq!(quoted("a\"b\\${c}%{d}\n"), r#""a\"b\\$${c}%%{d}\n""#);
    }
}
