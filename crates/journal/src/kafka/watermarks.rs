//! Where the partitions begin and end, as the brokers know it now.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::client::ANSWER_TIMEOUT;
use super::error::unavailable;
use super::producer::Producer;
use crate::{Error, Offsets};

/// By partition, from the first offset that is there to one past the last.
pub(super) type Watermarks = BTreeMap<u32, Range<u64>>;

/// Asks for the partitions named, for all at the same time.
pub(super) async fn watermarks(producer: &Producer, topic: &Arc<str>, partitions: impl Iterator<Item = u32>) -> Result<Watermarks, Error> {
    let asking = producer.asking()?;
    let mut questions = JoinSet::new();
    for partition in partitions {
        let (asking, topic) = (Arc::clone(&asking), Arc::clone(topic));
        questions.spawn_blocking(move || {
            let number = i32::try_from(partition).unwrap_or(i32::MAX);
            let answer = asking.client().fetch_watermarks(&topic, number, ANSWER_TIMEOUT);
            let failed = |error| unavailable(format!("find out where partition {partition} of topic {topic} ends"), error);
            let (start, end) = answer.map_err(failed)?;
            Ok((partition, u64::try_from(start).unwrap_or(0)..u64::try_from(end).unwrap_or(0)))
        });
    }
    let mut answers = Watermarks::new();
    while let Some(answer) = questions.join_next().await {
        let (partition, range) = answer.map_err(|_| Error::Closed)??;
        answers.insert(partition, range);
    }
    Ok(answers)
}

pub(super) fn starts(watermarks: Watermarks) -> Offsets {
    watermarks.into_iter().map(|(partition, range)| (partition, range.start)).collect()
}

pub(super) fn ends(watermarks: Watermarks) -> Offsets {
    watermarks.into_iter().map(|(partition, range)| (partition, range.end)).collect()
}
