//! From the answer until an event can be queried.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use contract::Timestamp;
use serde_json::json;
use telemetry::clock::{Clock as _, SystemClock};

use super::Target;
use super::report::{self, Report, ReportArgs};
use crate::commands::LakeArgs;

const GIVE_UP: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(super) struct DelayArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    lake: LakeArgs,
    /// How many events, one after the other
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    events: u16,
    #[command(flatten)]
    report: ReportArgs,
}

pub(super) async fn run(args: DelayArgs) -> anyhow::Result<()> {
    let lake = args.lake.open().await?;
    let http = args.target.trust.read()?.client().build()?;
    let url = format!("{}{}", args.target.url.trim_end_matches('/'), args.target.path);
    let mut report = Report::begin("delay", json!({"url": args.target.url, "path": args.target.path, "events": args.events}));
    let mut delays = report::times()?;
    for _ in 0..args.events {
        let now = Timestamp(SystemClock.now_micros());
        let id = contract::id::uuid_v7(now, rand::random());
        let body = format!(r#"{{"event_id":"{id}","event_type":"page_view","event_time":"{now}","anonymous_id":"bench"}}"#);
        let answer = http.post(&url).basic_auth(&args.target.key, Some("")).body(body).send().await;
        let answer = answer.with_context(|| format!("{url} cannot be reached; is the server running?"))?;
        if answer.status() != 200 {
            bail!("{url} answered {}: {}", answer.status(), answer.text().await?);
        }
        let answered = Instant::now();
        let today = now.date_text();
        let sql = format!("SELECT event_id FROM silver.events WHERE event_date = DATE '{today}' AND event_id = '{id}'");
        while lake.session().await?.sql(&sql).await?.count().await? == 0 {
            if answered.elapsed() > GIVE_UP {
                bail!("{id} cannot be queried after {} s; is this the lake of that server?", GIVE_UP.as_secs());
            }
        }
        delays.saturating_record(answered.elapsed().as_micros().try_into().unwrap_or(u64::MAX));
    }
    report.set_times("queryable", &delays);
    args.report.tell(&report, Some(&delays))
}
