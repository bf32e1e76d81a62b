//! A list of brokers, as people write one.

use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(untagged, expecting = "a list of host:port, or a text with commas between them")]
enum Written {
    Text(String),
    List(Vec<String>),
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let brokers = match Written::deserialize(deserializer)? {
        Written::Text(text) => text.split(',').map(|broker| broker.trim().to_owned()).collect(),
        Written::List(list) => list,
    };
    Ok(brokers.into_iter().filter(|broker| !broker.is_empty()).collect())
}
