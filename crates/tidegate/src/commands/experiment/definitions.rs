//! The definitions of experiments.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use experiments::definition::Experiment;
use pipeline::gold::experiments::all;
use serde_json::json;

use super::CheckArgs;
use crate::commands::say;
use crate::output;
use crate::settings::Settings;

/// The one with this key.
///
/// # Errors
///
/// Where there is none, with those there are.
pub(super) fn named(settings: &Settings, name: &str) -> anyhow::Result<Experiment> {
    let experiments = settings.pipeline.experiments()?;
    let names: Vec<String> = experiments.iter().map(|experiment| experiment.definition.key.clone()).collect();
    if let Some(found) = experiments.into_iter().find(|experiment| experiment.definition.key == name) {
        return Ok(found);
    }
    let folder = settings.pipeline.experiments.as_ref();
    match folder {
        None => {
            let folder = settings.data.join(crate::settings::EXPERIMENTS);
            bail!(
                "no experiment is defined; put a file for each into {}, and metrics.yaml beside them, or name another folder in pipeline.experiments",
                folder.display()
            )
        }
        Some(folder) => bail!("{} defines no experiment {name}; it defines {}", folder.display(), names.join(", ")),
    }
}

pub(super) fn check(args: &CheckArgs) -> anyhow::Result<bool> {
    let folder: PathBuf = match &args.folder {
        Some(folder) => folder.clone(),
        None => {
            let settings = args.data.load(Vec::new())?.settings;
            settings
                .pipeline
                .experiments
                .context("no folder of experiments is set; name one, as in `tidegate experiment check experiments/`")?
        }
    };
    let found = all(&folder)?;
    let mut rows = output::stdout(args.format, output::heads(args.format, ["file", "experiment", "metrics", "problem"]))?;
    let mut problems = 0;
    for (path, outcome) in &found {
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let cells = match outcome {
            Ok(experiment) => vec![json!(file), json!(experiment.definition.key), json!(experiment.metrics.len()), json!(null)],
            Err(error) => {
                problems += 1;
                vec![json!(file), json!(null), json!(null), json!(error.to_string())]
            }
        };
        if !rows.write(cells)? {
            break;
        }
    }
    rows.finish()?;
    if problems > 0 {
        say(&format!("error: {problems} problems"));
    }
    Ok(problems == 0)
}
