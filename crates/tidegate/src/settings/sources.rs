//! Reads the settings from where they are: the file, the environment, the flags.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::layers::{self, Sources};
use super::{Error, Flag, Loaded};

/// The file that is read where none is named, if it is there.
const FILE_DEFAULT: &str = "tidegate.toml";

/// The folder of experiments in the data folder, where the settings name no other.
pub(crate) const EXPERIMENTS: &str = "experiments";

/// The settings of this process.
///
/// # Errors
///
/// What is wrong with them, and where.
pub(crate) fn read(config: Option<&Path>, flags: Vec<Flag>) -> Result<Loaded, Error> {
    // A variable that is no text is no setting of ours: all of them are text.
    let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut loaded = layers::load(Sources { file: file(config)?, environment: environment.collect(), flags })?;
    loaded.settings.file = config.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    let own = loaded.settings.data.join(EXPERIMENTS);
    if loaded.settings.pipeline.experiments.is_none() && own.is_dir() {
        loaded.settings.pipeline.experiments = Some(own);
    }
    Ok(loaded)
}

fn file(config: Option<&Path>) -> Result<Option<(PathBuf, String)>, Error> {
    let path = config.unwrap_or(Path::new(FILE_DEFAULT));
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(error) if error.kind() == ErrorKind::NotFound && config.is_none() => Ok(None),
        Err(source) => Err(Error::Unreadable { path: path.to_owned(), source }),
    }
}
