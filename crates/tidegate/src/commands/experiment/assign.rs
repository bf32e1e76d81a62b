//! Which variation subjects see.

use std::io::BufRead as _;

use experiments::assignment::{HashVersion, Namespace, choose, hash, ranges};
use experiments::definition::{Definition, Experiment};
use serde_json::json;

use super::{AssignArgs, definitions};
use crate::output;

pub(super) fn assign(args: &AssignArgs) -> anyhow::Result<bool> {
    let settings = args.data.load(Vec::new())?.settings;
    let Experiment { definition, .. } = definitions::named(&settings, &args.name)?;
    let mut rows = output::stdout(args.format, ["subject", "variation", "why"].map(str::to_owned).into())?;
    let mut write = |subject: &str| {
        let (variation, why) = variation(&definition, subject);
        rows.write(vec![json!(subject), json!(variation), json!(why)])
    };
    'all: for subject in &args.subjects {
        if subject != "-" {
            if !write(subject)? {
                break;
            }
            continue;
        }
        for line in std::io::stdin().lock().lines() {
            if !write(&line?)? {
                break 'all;
            }
        }
    }
    rows.finish()?;
    Ok(true)
}

/// The variation, or why there is none. Whom it is targeted at is not looked at: the client knows that.
fn variation<'a>(definition: &'a Definition, subject: &str) -> (Option<&'a str>, &'static str) {
    let assignment = &definition.assignment;
    let version = if assignment.hash_version == 1 { HashVersion::One } else { HashVersion::Two };
    if let Some(holdout) = &assignment.holdout
        && hash(&holdout.name, subject, HashVersion::Two) < holdout.share
    {
        return (None, "in the holdout");
    }
    if let Some(part) = &assignment.namespace {
        let namespace = Namespace { id: part.name.clone(), range: part.from..part.to };
        if !namespace.contains(subject) {
            return (None, "in another part of the namespace");
        }
    }
    let seed = assignment.seed.as_deref().unwrap_or(&definition.key);
    let ranges = ranges(definition.variations.len(), Some(&definition.weights()), assignment.coverage);
    match choose(hash(seed, subject, version), &ranges).and_then(|place| definition.variations.get(place)) {
        Some(variation) => (Some(&variation.key), "by hash"),
        None => (None, "not covered"),
    }
}
