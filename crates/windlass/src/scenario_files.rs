//! Scenario files from the command line.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use windlass_sim::{Scenario, ScenarioReader};

use crate::{output, scheduler_config};

/// Reads all files as one scenario and prints what is worth saying about them.
pub(crate) fn read(files: &[PathBuf]) -> anyhow::Result<Scenario> {
    let mut reader = ScenarioReader::new();
    for file in files {
        let name = file.display().to_string();
        let text = read_text(file).with_context(|| format!("cannot read `{name}`"))?;
        reader.read(&name, &text)?;
    }
    let mut scenario = reader.finish()?;
    scenario.profiles = scheduler_config::profiles(&scenario.config)?;
    for warning in &scenario.warnings {
        output::talk(&format!("warning: {warning}"));
    }
    Ok(scenario)
}

fn read_text(file: &Path) -> io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(file)
}
