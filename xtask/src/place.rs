//! Where the repository and the built things are.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

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

    /// What the tests of the clients need, made once and kept from run to run: below the target folder, never in the clone.
    pub(crate) fn clients(&self) -> PathBuf {
        self.release.parent().unwrap_or(&self.release).join("clients")
    }
}

/// The cargo that runs this.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
