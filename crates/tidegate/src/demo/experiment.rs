//! The A/B test in the demo's traffic, and the truth about it that the result is held against.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use contract::Timestamp;
use experiments::assignment::{HashVersion, hash};

use super::random::Random;

/// The experiment's id.
pub(crate) const ID: &str = "checkout-button";
/// How long after the first exposure a purchase counts: a day, in microseconds.
pub(crate) const WINDOW_MICROS: i64 = 24 * 3_600 * 1_000_000;

const METRICS: &str = include_str!("experiments/metrics.yaml");
const DEFINITION: &str = include_str!("experiments/checkout-button.yaml");

/// Writes the definition into the folder of experiments of a data folder. Exposures from this moment on count. Tells the folder.
///
/// # Errors
///
/// What keeps it from being written.
pub(crate) fn define(data: &Path, start: Timestamp) -> anyhow::Result<PathBuf> {
    let folder = data.join(crate::settings::EXPERIMENTS);
    let write =
        |name: &str, text: &str| fs::write(folder.join(name), text).with_context(|| format!("cannot write {name} in {}", folder.display()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    write("metrics.yaml", METRICS)?;
    write("checkout-button.yaml", &DEFINITION.replace("START", &start.to_string()))?;
    Ok(folder)
}

/// What a subject sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Variation {
    Control,
    Treatment,
}

impl Variation {
    pub(crate) const ALL: [Self; 2] = [Self::Control, Self::Treatment];

    /// The id as it stands in events.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Treatment => "treatment",
        }
    }

    /// How many of a million subjects buy within the window, in truth.
    pub(crate) fn buyers_per_million(self) -> u64 {
        match self {
            Self::Control => 300_000,
            Self::Treatment => 400_000,
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Control => Self::Treatment,
            Self::Treatment => Self::Control,
        }
    }

    /// The variation of a subject: half and half by hash, as every SDK has it.
    pub(crate) fn of(subject: &str) -> Self {
        if hash(ID, subject, HashVersion::Two) < 0.5 { Self::Control } else { Self::Treatment }
    }
}

/// Whether a subject is one of those who buy once they have seen the variation. It is settled by seed and visitor, so that exposure adds no luck of its own.
pub(crate) fn is_buyer(seed: u64, visitor: u64, variation: Variation) -> bool {
    const OUTCOME: u64 = 0x0B17;
    Random::stream(seed, &[OUTCOME, visitor]).chance(variation.buyers_per_million())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_that_of_the_traffic() {
        let folder = tempfile::tempdir().unwrap();
        let defined = pipeline::gold::experiments::load(&define(folder.path(), Timestamp(1_795_428_000_000_000)).unwrap()).unwrap();
        let definition = &defined[0].definition;
        let keys: Vec<&str> = definition.variations.iter().map(|variation| variation.key.as_str()).collect();
        assert_eq!((definition.key.as_str(), keys), (ID, Variation::ALL.map(Variation::id).to_vec()));
        assert_eq!(i64::from(definition.attribution_days) * 24 * 3_600 * 1_000_000, WINDOW_MICROS);
    }

    #[test]
    fn halves_are_halves_and_the_truth_is_what_is_stated() {
        let mut subjects = [0_u32; 2];
        let mut buyers = [0_u32; 2];
        for visitor in 0..20_000 {
            let variation = Variation::of(&format!("subject-{visitor}"));
            subjects[variation as usize] += 1;
            buyers[variation as usize] += u32::from(is_buyer(7, visitor, variation));
        }
        assert!(subjects.iter().all(|count| (9_800..10_200).contains(count)), "{subjects:?}");
        let rate = |variation: Variation| f64::from(buyers[variation as usize]) / f64::from(subjects[variation as usize]);
        assert!((rate(Variation::Control) - 0.30).abs() < 0.015 && (rate(Variation::Treatment) - 0.40).abs() < 0.015);
    }
}
