//! Feature exposures name their experiment and variation in one way, whatever the client.

use std::borrow::Cow;

use super::fields::scalar_text;
use crate::Event;
use crate::json::{Object, Value};

pub use rules::FEATURE_EXPOSURE;

/// Under which names clients send the experiment, the best first. Segment's "Experiment Viewed" has ids and names, some clients only names.
const EXPERIMENT: [&str; 4] = ["experiment_id", "experimentId", "experiment_name", "experimentName"];
const VARIATION: [&str; 4] = ["variation_id", "variationId", "variation_name", "variationName"];
/// What PostHog's clients call an exposure, and where they name the two.
const POSTHOG: &str = "$feature_flag_called";
const POSTHOG_EXPERIMENT: [&str; 2] = ["experiment_id", "$feature_flag"];
const POSTHOG_VARIATION: [&str; 2] = ["variation_id", "$feature_flag_response"];

/// Makes what PostHog's clients send an exposure too, and makes sure that the properties of an exposure have `experiment_id` and `variation_id` as text, where they are there under any of the names that clients use.
/// Everything else stays as it was sent.
pub(super) fn normalise(event: &mut Event<'_>) {
    if event.event_type == POSTHOG {
        event.event_type = Cow::Borrowed(FEATURE_EXPOSURE);
        event.name.get_or_insert(Cow::Borrowed(POSTHOG));
        settle(&mut event.properties, &POSTHOG_EXPERIMENT);
        settle(&mut event.properties, &POSTHOG_VARIATION);
    } else if event.event_type == FEATURE_EXPOSURE {
        settle(&mut event.properties, &EXPERIMENT);
        settle(&mut event.properties, &VARIATION);
    }
}

fn settle(properties: &mut Object<'_>, names: &[&'static str]) {
    let Some(target) = names.first() else { return };
    let text_of = |name: &&'static str| properties.get(name).filter(|value| !value.is_null()).and_then(|value| scalar_text(value).ok());
    if let Some(text) = names.iter().filter_map(text_of).find(|text| !text.is_empty()) {
        properties.insert(*target, Value::String(text));
    }
}
