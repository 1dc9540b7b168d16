//! moto, the AWS of the test bed, and the AWS command line: virtual environments of Python made
//! from pinned requirements.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::key::Key;
use crate::system;

/// moto's server, which the requirements and `server.py` in `source` make.
pub(crate) fn server(source: &Path, cache: &Path, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let python = ensure(source, cache, ("moto", "python"), say)?;
    let path = source.join("server.py");
    let script = fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))?;
    let program = format!("#!{}\n{script}", python.display());
    let server = python.with_file_name("windlass-moto");
    if fs::read_to_string(&server).is_ok_and(|existing| existing == program) {
        return Ok(server);
    }
    let write = || -> std::io::Result<()> {
        let new = server.with_extension("new");
        fs::write(&new, &program)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
        fs::rename(&new, &server)
    };
    write().with_context(|| format!("write `{}`", server.display()))?;
    Ok(server)
}

/// The program `bin/PROGRAM` of the environment NAME, which the requirements in `source` make.
pub(crate) fn ensure(
    source: &Path,
    cache: &Path,
    (name, program): (&str, &str),
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf> {
    let requirements = source.join("requirements.txt");
    let directory = cache.join(Key::new().add_file(&requirements)?.name(name));
    let server = directory.join("bin").join(program);
    // An environment whose Python has gone with an upgrade of the system is made anew.
    let is_whole = directory.join("complete").exists() && directory.join("bin/python").exists();
    if is_whole {
        return Ok(server);
    }
    system::require(&[system::Program::Python])?;
    say(&format!("installing {name}"));
    if directory.exists() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("remove `{}`", directory.display()))?;
    }
    system::run_with_patience(
        Command::new("python3").args(["-m", "venv"]).arg(&directory),
        say,
    )?;
    let mut pip = Command::new(directory.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
    ]);
    system::run_with_patience(pip.arg(&requirements), say)?;
    // The environment cannot be made aside and renamed, since its scripts name their directory:
    // this file says that it is whole.
    fs::write(directory.join("complete"), "")
        .with_context(|| format!("write to `{}`", directory.display()))?;
    Ok(server)
}
