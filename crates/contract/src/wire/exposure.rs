//! Feature exposures name their experiment and variation in one way, whatever the client.

use serde_json::{Map, Value};

use super::fields::scalar_text;
use crate::Event;

pub use rules::FEATURE_EXPOSURE;

/// Under which names clients send the experiment, the best first. Segment's "Experiment Viewed" has ids and names, some clients only names.
const EXPERIMENT: [&str; 4] = ["experiment_id", "experimentId", "experiment_name", "experimentName"];
const VARIATION: [&str; 4] = ["variation_id", "variationId", "variation_name", "variationName"];

/// Makes sure that the properties of an exposure have `experiment_id` and `variation_id` as text, where they are there under any of the names that clients use.
/// Everything else stays as it was sent.
pub(super) fn normalise(event: &mut Event) {
    if event.event_type == FEATURE_EXPOSURE {
        for names in [&EXPERIMENT, &VARIATION] {
            settle(&mut event.properties, names);
        }
    }
}

fn settle(properties: &mut Map<String, Value>, names: &[&str; 4]) {
    let [target, ..] = *names;
    let text_of = |name: &&str| properties.get(*name).filter(|value| !value.is_null()).and_then(|value| scalar_text(value).ok());
    if let Some(text) = names.iter().filter_map(text_of).find(|text| !text.is_empty()) {
        properties.insert(target.to_owned(), Value::String(text));
    }
}
