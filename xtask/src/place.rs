//! Where the repository and the built things are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

/// The version of everything that is released, as Cargo.toml of the workspace says it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The folders that the commands work in.
#[derive(Debug)]
pub(crate) struct Place {
    root: PathBuf,
    release: PathBuf,
}

impl Place {
    pub(crate) fn find() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR").context("run it as `cargo xtask`")?;
        let root = Path::new(&manifest).parent().context("the folder of xtask has a parent")?.to_owned();
        // Cargo put this program beside the product, wherever the target folder was set to be.
        let this = env::current_exe().context("where this program is cannot be found out")?;
        let release = this.parent().context("a program is in a folder")?.to_owned();
        Ok(Self { root, release })
    }

    /// The root of the repository.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The product.
    pub(crate) fn product(&self) -> PathBuf {
        self.release.join(format!("tidegate{}", env::consts::EXE_SUFFIX))
    }

    /// The simulation.
    pub(crate) fn simulation(&self) -> PathBuf {
        self.release.join(format!("simulation{}", env::consts::EXE_SUFFIX))
    }

    /// What runs an inner loop to have its instructions counted.
    pub(crate) fn instructions(&self) -> PathBuf {
        self.release.join(format!("instructions{}", env::consts::EXE_SUFFIX))
    }

    /// An example of a crate.
    pub(crate) fn example(&self, name: &str) -> PathBuf {
        self.release.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX))
    }

    /// What the tests of the clients need, made once and kept from run to run: below the target folder, never in the clone.
    pub(crate) fn clients(&self) -> PathBuf {
        self.kept().join("clients")
    }

    /// The servers that the tests run against, kept in the same way.
    pub(crate) fn servers(&self) -> PathBuf {
        self.kept().join("servers")
    }

    /// What `up` keeps, unless it is told where.
    pub(crate) fn up(&self) -> PathBuf {
        self.kept().join("up")
    }

    /// Where `chaos` has the servers' data.
    pub(crate) fn chaos(&self) -> PathBuf {
        self.kept().join("chaos")
    }

    /// Where `instructions` has what callgrind counted.
    pub(crate) fn counts(&self) -> PathBuf {
        self.kept().join("callgrind")
    }

    /// Where `sbom` has the copy that it works on, and what it makes.
    pub(crate) fn sbom(&self) -> PathBuf {
        self.kept().join("sbom")
    }

    /// Where releases are made, beside what cargo puts there for the profile of that name.
    pub(crate) fn dist(&self) -> PathBuf {
        self.kept().join("dist")
    }

    /// The product, as it is handed out.
    pub(crate) fn shipped(&self) -> PathBuf {
        self.dist().join(format!("tidegate{}", env::consts::EXE_SUFFIX))
    }

    /// Where `upgrade` unpacks the release before.
    pub(crate) fn upgrade(&self) -> PathBuf {
        self.kept().join("upgrade")
    }

    /// The target folder.
    pub(crate) fn target(&self) -> &Path {
        self.kept()
    }

    /// The target folder, beside what cargo puts there.
    fn kept(&self) -> &Path {
        self.release.parent().unwrap_or(&self.release)
    }
}

/// The cargo that runs this, to work on the repository as if it had been called from a shell.
///
/// What cargo says about this program (`CARGO_PKG_NAME` and so on) is taken out of its environment: build scripts ask to be run again when that changes
/// (`ring`'s does), and with it everything above would be compiled anew at each turn from `cargo run` to `cargo xtask` and back.
pub(crate) fn cargo(place: &Place) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_about_this_program) {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(place.root());
    cargo
}

fn is_about_this_program(variable: &str) -> bool {
    const PREFIXES: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
    variable == "CARGO"
        || variable == "CARGO_PRIMARY_PACKAGE"
        || variable == "OUT_DIR"
        || PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::is_about_this_program;

    #[test]
    fn settings_of_the_user_stay() {
        for gone in ["CARGO", "CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_LINKS"] {
            assert!(is_about_this_program(gone), "{gone}");
        }
        for stays in ["CARGO_TARGET_DIR", "CARGO_HOME", "CARGO_INCREMENTAL", "CARGO_TERM_COLOR", "CARGO_PROFILE_RELEASE_LTO", "PATH", "CC"]
        {
            assert!(!is_about_this_program(stays), "{stays}");
        }
    }
}
