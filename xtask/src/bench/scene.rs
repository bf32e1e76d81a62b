//! A scenario that is being played: what it may use, and where its files go.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::equipment::Equipment;
use super::options::Options;
use crate::place::Place;

/// What a scenario has.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) place: &'a Place,
    pub(crate) options: &'a Options,
    pub(crate) tools: &'a Equipment,
    /// Data, which is gone at the end.
    work: PathBuf,
    /// Reports and logs, which stay.
    out: PathBuf,
}

impl<'a> Scene<'a> {
    /// Of a name, with empty folders.
    ///
    /// # Errors
    ///
    /// When a folder cannot be emptied or made.
    pub(crate) fn new(place: &'a Place, options: &'a Options, tools: &'a Equipment, out: &Path, name: &str) -> Result<Self> {
        let scene = Self { place, options, tools, work: out.join("work").join(name), out: out.join(name) };
        emptied(&scene.work)?;
        emptied(&scene.out)?;
        Ok(scene)
    }

    /// A file that stays.
    pub(crate) fn kept(&self, name: &str) -> PathBuf {
        self.out.join(name)
    }

    /// A file or folder that does not.
    pub(crate) fn temporary(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// The same as a folder that is new and empty.
    ///
    /// # Errors
    ///
    /// When it cannot be emptied or made.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.temporary(name);
        emptied(&folder)?;
        Ok(folder)
    }

    /// The product, away from whatever configuration there is on this machine.
    pub(crate) fn tidegate(&self) -> Command {
        let mut command = Command::new(self.place.product());
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("TIDEGATE_") || name.starts_with("AWS_")) {
                command.env_remove(name);
            }
        }
        command.current_dir(&self.work).env("NO_COLOR", "1");
        command
    }

    /// The rounds, each of which is told as it begins.
    pub(crate) fn rounds(&self) -> impl Iterator<Item = u32> {
        let rounds = self.options.rounds;
        (1..=rounds).inspect(move |round| eprintln!("round {round} of {rounds}"))
    }

    /// Removes the data.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub(crate) fn end(&self) -> Result<()> {
        fs::remove_dir_all(&self.work).with_context(|| format!("{} cannot be removed", self.work.display()))
    }
}

/// Makes a folder that is empty.
fn emptied(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))
}
