//! Dead letters, and what would come of them now.

use std::sync::Arc;

use ::console::pages::Visitor;
use ::console::pages::dead_letters::{Again, Asked, Found, page as drawn};
use axum::Extension;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use contract::Timestamp;
use pipeline::recovery::Filter;
use serde::Deserialize;

use super::access::Change;
use super::{Asking, Pages, Refused, is_own, jobs, show};
use crate::commands::recover::{self, Judged};

/// Dead letters that are judged again for a page.
const JUDGED_MAX: u64 = 20_000;
/// Reasons that are told.
const WHY_MAX: usize = 10;
const DAY_MICROS: i64 = 86_400_000_000;

#[derive(Debug, Deserialize)]
pub(super) struct Question {
    again: Option<u8>,
}

pub(super) async fn page(
    State(pages): Asking,
    Query(asked): Query<Asked>,
    Query(question): Query<Question>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let found = async {
        let (reasons, by_day) = (pages.ask(&asked.reasons()).await?, pages.ask(&asked.by_day()).await?);
        Ok::<_, String>(Found { reasons, by_day, examples: pages.ask(&asked.examples()).await? })
    };
    let from = from(pages.lake().await?.now(), asked.days());
    let (found, problem) = match found.await {
        Ok(found) => (found, None),
        Err(why) => (Found::default(), Some(why)),
    };
    let again = match question.again {
        Some(_) if is_own(&headers) && problem.is_none() => Some(pages.again(&asked, from).await?),
        Some(_) | None => None,
    };
    Ok(show(drawn(&asked, &found, again.as_ref(), problem.as_deref(), &from.date_text(), &visitor)))
}

/// Puts them through, as the command does.
pub(super) async fn recover(State(pages): Asking, Change { asked, visitor, by }: Change<Asked>) -> Result<Response, Refused> {
    let from = from(pages.lake().await?.now(), asked.days());
    jobs::begin(&pages, asked.command(&from.date_text()), &visitor, &by).await
}

/// The start of the first of so many days, of which today is the last.
fn from(now: i64, days: u32) -> Timestamp {
    Timestamp((now.div_euclid(DAY_MICROS) - i64::from(days) + 1) * DAY_MICROS)
}

impl Pages {
    async fn again(&self, asked: &Asked, from: Timestamp) -> Result<Again, Refused> {
        let one = |text: &String| Some(text.clone()).filter(|text| !text.is_empty()).into_iter().collect::<Vec<String>>();
        let filter = Filter {
            sources: one(&asked.source),
            codes: one(&asked.code),
            stages: one(&asked.stage),
            fields: one(&asked.field),
            from: Some(from),
            ..Filter::default()
        };
        let judged = recover::judge(self.lake().await?, &self.settings, Arc::clone(&self.plan), filter, JUDGED_MAX).await;
        let Judged { lines, has_more } = judged.map_err(|error| Refused::unavailable(format!("{error:#}")))?;
        let mut again = Again { has_more, ..Again::default() };
        for line in lines.values() {
            again.letters += line.letters;
            again.in_silver += line.in_silver;
            again.passed += line.passed;
            again.failed += line.failed;
            again.hopeless += line.hopeless;
        }
        again.why = lines.into_values().filter_map(|line| line.why).take(WHY_MAX).collect();
        Ok(again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight() {
        let noon = 1_795_435_200_000_000;
        assert_eq!(from(noon, 1).to_rfc3339(), "2026-11-23T00:00:00.000000Z");
        assert_eq!(from(noon, 7).to_rfc3339(), "2026-11-17T00:00:00.000000Z");
    }
}
