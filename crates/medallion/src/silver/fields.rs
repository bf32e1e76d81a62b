//! The columns of `silver.events` that come of the event itself; the others are Bronze's as they are.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Int64Builder, PrimitiveBuilder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::TimestampMicrosecondType;
use contract::time::event_time;
use contract::wire::FEATURE_EXPOSURE;
use contract::{Event, Timestamp, json};

use super::Rules;
use super::agent::Agents;
use super::content;
use super::decode::{Row, TABLE};
use super::page::{campaign, object, page, text};
use crate::columns::{BYTES_MAX, Selection, UTC, select};
use crate::{Error, schema};

const PAGE: [&str; 4] = ["page_url", "page_path", "page_title", "page_referrer"];
const CAMPAIGN: [&str; 5] = ["campaign_source", "campaign_medium", "campaign_name", "campaign_term", "campaign_content"];

/// The columns while they are filled.
pub(crate) struct EventFields {
    agents: Agents,
    event_type: StringBuilder,
    name: StringBuilder,
    event_time: PrimitiveBuilder<TimestampMicrosecondType>,
    event_date: Date32Builder,
    client_time: PrimitiveBuilder<TimestampMicrosecondType>,
    sent_at: PrimitiveBuilder<TimestampMicrosecondType>,
    clock_corrected: BooleanBuilder,
    is_late: BooleanBuilder,
    user_id: StringBuilder,
    anonymous_id: StringBuilder,
    session_id: StringBuilder,
    page: [StringBuilder; 4],
    campaign: [StringBuilder; 5],
    device_type: StringBuilder,
    os: StringBuilder,
    browser: StringBuilder,
    is_bot: BooleanBuilder,
    user_agent: StringBuilder,
    locale: StringBuilder,
    library: StringBuilder,
    experiment_id: StringBuilder,
    variation_id: StringBuilder,
    properties: StringBuilder,
    context: StringBuilder,
    plan_violations: StringBuilder,
    content_hash: Int64Builder,
}

impl EventFields {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        let text = |bytes: usize| StringBuilder::with_capacity(rows, rows * bytes);
        let flag = || BooleanBuilder::with_capacity(rows);
        let instant = || TimestampMicrosecondBuilder::with_capacity(rows).with_timezone(UTC);
        Self {
            agents: Agents::default(),
            event_type: text(16),
            name: text(8),
            event_time: instant(),
            event_date: Date32Builder::with_capacity(rows),
            client_time: instant(),
            sent_at: instant(),
            clock_corrected: flag(),
            is_late: flag(),
            user_id: text(16),
            anonymous_id: text(36),
            session_id: text(16),
            page: std::array::from_fn(|_| text(32)),
            campaign: std::array::from_fn(|_| text(0)),
            device_type: text(8),
            os: text(8),
            browser: text(8),
            is_bot: flag(),
            user_agent: text(96),
            locale: text(6),
            library: text(24),
            experiment_id: text(0),
            variation_id: text(0),
            properties: text(128),
            context: text(256),
            plan_violations: text(0),
            content_hash: Int64Builder::with_capacity(rows),
        }
    }

    /// Takes in one event and the row of Bronze that it was read from.
    pub(crate) fn push(&mut self, event: &Event<'_>, row: &Row<'_>, rules: &Rules) -> Result<(), Error> {
        self.push_bodies(event)?;
        self.push_times(event, row, rules);
        self.push_page(event);
        self.push_agent(event, row);
        self.event_type.append_value(&event.event_type);
        self.name.append_option(event.name.as_deref());
        self.user_id.append_option(event.user_id.as_deref());
        self.anonymous_id.append_option(event.anonymous_id.as_deref());
        self.session_id.append_option(event.session_id.as_deref());
        self.locale.append_option(text(&event.context, "locale"));
        self.library.append_option(library(&event.context));
        let exposure = (event.event_type == FEATURE_EXPOSURE).then_some(&event.properties);
        self.experiment_id.append_option(exposure.and_then(|properties| text(properties, "experiment_id")));
        self.variation_id.append_option(exposure.and_then(|properties| text(properties, "variation_id")));
        self.plan_violations.append_option(row.violations.filter(|_| row.is_flagged()));
        Ok(())
    }

    fn push_bodies(&mut self, event: &Event<'_>) -> Result<(), Error> {
        let (properties, context) = (json::canonical_object(&event.properties), json::canonical_object(&event.context));
        // The canonical form may be longer than what came (`1e20` has 21 digits there), so the bounds on Bronze's batches do not hold here.
        let bytes = (self.properties.values_slice().len() + properties.len()).max(self.context.values_slice().len() + context.len());
        if bytes > BYTES_MAX {
            return Err(Error::TooLarge { bytes, limit: BYTES_MAX });
        }
        self.content_hash.append_value(content::hash(event, &properties, &context).cast_signed());
        self.properties.append_value(properties);
        self.context.append_value(context);
        Ok(())
    }

    fn push_times(&mut self, event: &Event<'_>, row: &Row<'_>, rules: &Rules) {
        let sent = event.sent_at.or(row.sent_at);
        let time = event_time(event.client_time, sent, row.received_at, rules.clock_skew_tolerance_micros);
        self.event_time.append_value(time.at.micros());
        self.event_date.append_value(time.at.date());
        self.client_time.append_option(event.client_time.map(Timestamp::micros));
        self.sent_at.append_option(sent.map(Timestamp::micros));
        self.clock_corrected.append_value(time.corrected);
        let behind = row.received_at.micros().saturating_sub(time.at.micros());
        self.is_late.append_value(behind > rules.allowed_lateness_micros);
    }

    fn push_page(&mut self, event: &Event<'_>) {
        let page = page(event);
        for (column, value) in self.page.iter_mut().zip([page.url, page.path, page.title, page.referrer]) {
            column.append_option(value);
        }
        for (column, value) in self.campaign.iter_mut().zip(campaign(&event.context, page.url)) {
            column.append_option(value);
        }
    }

    fn push_agent(&mut self, event: &Event<'_>, row: &Row<'_>) {
        let stated = text(&event.context, "userAgent");
        let user_agent = stated.or(row.user_agent);
        let agent = self.agents.get(user_agent);
        self.user_agent.append_option(user_agent);
        self.device_type.append_option(agent.device_type);
        self.os.append_option(agent.os.as_deref());
        self.browser.append_option(agent.browser.as_deref());
        self.is_bot.append_value(agent.is_bot(stated.is_some()));
    }

    /// The rows of `silver.events` for those rows of Bronze that the events came from.
    pub(crate) fn finish(mut self, bronze: &RecordBatch, rows: &Selection) -> Result<RecordBatch, Error> {
        let mut made: Vec<(&str, ArrayRef)> = vec![
            ("event_type", Arc::new(self.event_type.finish())),
            ("name", Arc::new(self.name.finish())),
            ("event_time", Arc::new(self.event_time.finish())),
            ("event_date", Arc::new(self.event_date.finish())),
            ("client_time", Arc::new(self.client_time.finish())),
            ("sent_at", Arc::new(self.sent_at.finish())),
            ("clock_corrected", Arc::new(self.clock_corrected.finish())),
            ("is_late", Arc::new(self.is_late.finish())),
            ("user_id", Arc::new(self.user_id.finish())),
            ("anonymous_id", Arc::new(self.anonymous_id.finish())),
            ("session_id", Arc::new(self.session_id.finish())),
            ("device_type", Arc::new(self.device_type.finish())),
            ("os", Arc::new(self.os.finish())),
            ("browser", Arc::new(self.browser.finish())),
            ("is_bot", Arc::new(self.is_bot.finish())),
            ("user_agent", Arc::new(self.user_agent.finish())),
            ("locale", Arc::new(self.locale.finish())),
            ("library", Arc::new(self.library.finish())),
            ("experiment_id", Arc::new(self.experiment_id.finish())),
            ("variation_id", Arc::new(self.variation_id.finish())),
            ("properties", Arc::new(self.properties.finish())),
            ("context", Arc::new(self.context.finish())),
            ("plan_violations", Arc::new(self.plan_violations.finish())),
            ("content_hash", Arc::new(self.content_hash.finish())),
        ];
        let columns = PAGE.into_iter().zip(&mut self.page).chain(CAMPAIGN.into_iter().zip(&mut self.campaign));
        made.extend(columns.map(|(name, column)| (name, Arc::new(column.finish()) as ArrayRef)));
        select(bronze, rows, &schema::silver_events(), TABLE, made)
    }
}

/// Name and version of the library that made the event, as `name/version`.
fn library(context: &json::Object<'_>) -> Option<String> {
    let library = object(context, "library")?;
    let name = text(library, "name")?;
    Some(text(library, "version").map_or_else(|| name.to_owned(), |version| format!("{name}/{version}")))
}
