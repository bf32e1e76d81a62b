//! The tables of an experiment, made of its definition. Each is named after what it has and after the experiment:
//!
//! | table | a row | reads |
//! |---|---|---|
//! | `experiment_exposures_…` | an exposure, and why it does not count where it does not | Silver |
//! | `experiment_events_…` | an event that a metric may count, with what it is worth | Silver |
//! | `experiment_subjects_…` | a subject, by the day of its first exposure, with what it did in its window and before | the two, `identity_links` |
//! | `experiment_metrics_…` | sums over subjects by that day, variation, segment and metric | the subjects |
//! | `experiment_values_…` | how many subjects have which value, for quantiles | the subjects |
//! | `experiment_ages_…` | sums by the days since the first exposure | the subjects and events |
//! | `experiment_counts_…` | what counted and what did not, and why | the exposures, events and subjects |
//!
//! A subject is in one row of one day, so sums add up over days, and what is late changes the days it reaches and no others.
//!
//! Amounts are decimal numbers with six digits after the point: their sums are the same in whatever order and by whatever engine they are added.

use std::time::Duration;

use chrono::{DateTime, Days, Utc};
use experiments::definition::{Definition, Events, Experiment, Kind, Metric, Segment, Subject, literal as text};

use super::{Input, Model, SCHEMA, Span};

/// Days before the first exposure whose events are counted as such.
const TOLD_BEFORE_DAYS: u32 = 7;
/// The same after the window. Every day of it is one more that each change makes anew.
const TOLD_AFTER_DAYS: u32 = 1;
/// They reach over days, so they are not made anew with every commit of Silver.
const EVERY: Duration = Duration::from_secs(60);
/// The largest amount that a subject has.
const AMOUNT_MAX: &str = "999999999999.999999";
const AMOUNT: &str = "DECIMAL(18, 6)";
const WIDE: &str = "DECIMAL(26, 6)";
/// The segment that everybody is in.
pub const EVERYBODY: &str = "all";

/// The tables of an experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    /// Exposures.
    pub exposures: String,
    /// Events that metrics may count.
    pub events: String,
    /// Subjects.
    pub subjects: String,
    /// Sums over subjects.
    pub metrics: String,
    /// How many subjects have which value; not there where no metric has quantiles.
    pub values: String,
    /// Sums by days since the first exposure.
    pub ages: String,
    /// What counted and what did not.
    pub counts: String,
}

impl Tables {
    /// Their names, with the schema.
    pub fn of(experiment: &Experiment) -> Self {
        let name = |what: &str| format!("{SCHEMA}.experiment_{what}_{}", experiment.table_name());
        Self {
            exposures: name("exposures"),
            events: name("events"),
            subjects: name("subjects"),
            metrics: name("metrics"),
            values: name("values"),
            ages: name("ages"),
            counts: name("counts"),
        }
    }
}

/// The models of an experiment's tables, each after those it reads.
pub fn models(experiment: &Experiment) -> Vec<Model> {
    let writer = Writer {
        tables: Tables::of(experiment),
        definition: &experiment.definition,
        metrics: experiment.metrics.iter().map(|(_, metric)| metric).collect(),
        experiment,
    };
    let mut models = vec![writer.exposures(), writer.events(), writer.subjects(), writer.sums()];
    if writer.metrics.iter().any(|metric| metric.has_values()) {
        models.push(writer.values());
    }
    if !writer.aged().is_empty() {
        models.push(writer.ages());
    }
    models.push(writer.counts());
    models
}

struct Writer<'a> {
    tables: Tables,
    experiment: &'a Experiment,
    definition: &'a Definition,
    metrics: Vec<&'a Metric>,
}

/// One column of the events' table: what an event is worth to a metric.
struct Quantity<'a> {
    name: String,
    events: &'a Events,
    property: Option<&'a str>,
}

impl Writer<'_> {
    fn model(&self, name: &str, what: &str, grain: &str, keys: &[&str], reads: Vec<Input>, sql: String) -> Model {
        Model {
            name: name.to_owned(),
            about: format!("{what} of the experiment {}.", self.definition.key),
            grain: grain.to_owned(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            partition_by: "event_date".to_owned(),
            reads,
            every: EVERY,
            sql,
        }
    }

    /// Whether an event has what is needed to say whose it is.
    fn has_subject(&self) -> &'static str {
        match self.definition.subject {
            Subject::Person => "(user_id IS NOT NULL OR anonymous_id IS NOT NULL)",
            Subject::User => "user_id IS NOT NULL",
            Subject::Anonymous => "anonymous_id IS NOT NULL",
        }
    }

    fn is_internal(&self) -> String {
        let excluded = self.definition.exclude.as_ref().filter(|events| !events.is_empty());
        // What is neither true nor false is not internal.
        excluded.map_or_else(|| "FALSE".to_owned(), |events| format!("coalesce({}, FALSE)", events.sql()))
    }

    fn segments(&self) -> impl Iterator<Item = (String, &Segment)> {
        self.definition.segments.iter().map(|(name, segment)| (format!("segment_{name}"), segment))
    }

    fn quantities(&self) -> Vec<Quantity<'_>> {
        let mut quantities = Vec::new();
        for metric in &self.metrics {
            if metric.kind == Kind::Funnel {
                for (number, events) in (1..).zip(&metric.steps) {
                    quantities.push(Quantity { name: format!("{}_step_{number}", metric.name), events, property: None });
                }
                continue;
            }
            quantities.push(Quantity { name: metric.name.clone(), events: &metric.event, property: metric.property.as_deref() });
            if let Some(events) = &metric.per {
                quantities.push(Quantity { name: format!("{}_per", metric.name), events, property: metric.per_property.as_deref() });
            }
        }
        quantities
    }

    fn exposures(&self) -> Model {
        let Definition { exposure, start, end, variations, key, .. } = self.definition;
        let property = |name: &str| {
            let name = text(name);
            format!("coalesce(json_text(properties, {name}), json_value(properties, {name}))")
        };
        let experiment_id = exposure.experiment.as_deref().map_or_else(|| "experiment_id".to_owned(), property);
        let variation_id = exposure.variation.as_deref().map_or_else(|| "variation_id".to_owned(), property);
        let keys: Vec<String> = variations.iter().map(|variation| text(&variation.key)).collect();
        let segments: String = self
            .segments()
            .map(|(name, segment)| match segment {
                Segment::Column(column) => format!(",\n    CAST({column} AS STRING) AS {name}"),
                Segment::Property(name_of) => format!(",\n    {} AS {name}", property(name_of)),
            })
            .collect();
        let until =
            end.map_or_else(String::new, |end| format!("\n    AND event_date <= DATE '{}' AND event_time < {}", end.date_naive(), at(end)));
        let sql = format!(
            "SELECT
    event_date, source, event_id, event_time, is_late, user_id, anonymous_id,
    {variation_id} AS variation_id,
    CASE
        WHEN is_bot THEN 'bot'
        WHEN {internal} THEN 'internal'
        WHEN NOT {has_subject} THEN 'no_subject'
        WHEN {variation_id} IS NULL OR {variation_id} NOT IN ({keys}) THEN 'no_variation'
    END AS left_out,
    plan_violations IS NOT NULL AS breaks_plan{segments}
FROM silver.events
WHERE event_type = {event_type} AND {experiment_id} = {key}
    AND event_date >= DATE '{day}' AND event_time >= {start}{until}",
            internal = self.is_internal(),
            has_subject = self.has_subject(),
            keys = keys.join(", "),
            event_type = text(&exposure.event_type),
            key = text(key),
            day = start.date_naive(),
            start = at(*start),
        );
        let keys = ["event_date", "source", "event_id"];
        self.model(&self.tables.exposures, "The exposures", "an exposure", &keys, vec![same("silver.events")], sql)
    }

    fn events(&self) -> Model {
        let Definition { start, end, attribution_days, .. } = self.definition;
        let quantities = self.quantities();
        let columns: String = quantities
            .iter()
            .map(|Quantity { name, events, property }| {
                let worth = property
                    .map_or_else(|| "CAST(1 AS BIGINT)".to_owned(), |property| format!("json_decimal(properties, {})", text(property)));
                format!(",\n    CASE WHEN {} THEN {worth} END AS {name}", events.sql())
            })
            .collect();
        let unreadable: Vec<String> = quantities
            .iter()
            .filter_map(|Quantity { events, property, .. }| {
                let property = text((*property)?);
                Some(format!("(coalesce({}, FALSE) AND json_decimal(properties, {property}) IS NULL)", events.sql()))
            })
            .collect();
        let unreadable = if unreadable.is_empty() { "FALSE".to_owned() } else { unreadable.join(" OR ") };
        let any: Vec<String> = quantities.iter().map(|quantity| format!("({})", quantity.events.sql())).collect();
        let from = start.date_naive().checked_sub_days(Days::new(self.days_before().into())).unwrap_or(start.date_naive());
        let until = end.and_then(|end| end.date_naive().checked_add_days(Days::new((attribution_days + TOLD_AFTER_DAYS).into())));
        let until = until.map_or_else(String::new, |day| format!(" AND event_date <= DATE '{day}'"));
        let sql = format!(
            "SELECT
    event_date, source, event_id, event_time, is_late, user_id, anonymous_id,
    CASE WHEN is_bot THEN 'bot' WHEN {internal} THEN 'internal' WHEN NOT {has_subject} THEN 'no_subject' END AS left_out,
    plan_violations IS NOT NULL AS breaks_plan,
    {unreadable} AS unreadable{columns}
FROM silver.events
WHERE event_date >= DATE '{from}'{until}
    AND ({any})",
            internal = self.is_internal(),
            has_subject = self.has_subject(),
            any = any.join("\n        OR "),
        );
        let keys = ["event_date", "source", "event_id"];
        self.model(&self.tables.events, "The events that the metrics count", "an event", &keys, vec![same("silver.events")], sql)
    }

    /// Days before the first exposure that are looked at.
    fn days_before(&self) -> u32 {
        self.definition.before_days.max(TOLD_BEFORE_DAYS)
    }

    /// Which user an anonymous id belongs to.
    fn links(&self) -> &'static str {
        match self.definition.subject {
            Subject::Person => {
                "links AS (
    SELECT anonymous_id, user_id, linked_at
    FROM (
        SELECT
            anonymous_id, user_id, first_seen_at AS linked_at,
            row_number() OVER (PARTITION BY anonymous_id ORDER BY first_seen_at, user_id) AS place
        FROM gold.identity_links
    ) AS numbered
    WHERE place = 1
), "
            }
            Subject::User | Subject::Anonymous => "",
        }
    }

    /// What events are whose: columns that begin the row of `SELECT` over a table under the alias `e`, and where they come from, as one or more queries.
    fn events_of_subjects(&self, columns: &str) -> String {
        let table = &self.tables.events;
        let never = "CASE WHEN FALSE THEN e.event_time END";
        let own = |kind: &str, id: &str, condition: &str| {
            format!(
                "    SELECT '{kind}' AS subject_type, e.{id} AS subject_id, {never} AS linked_at, {columns}\n    FROM {table} AS e\n    WHERE e.left_out IS NULL AND {condition}"
            )
        };
        match self.definition.subject {
            Subject::User => own("user", "user_id", "e.user_id IS NOT NULL"),
            Subject::Anonymous => own("anonymous", "anonymous_id", "e.anonymous_id IS NOT NULL"),
            Subject::Person => format!(
                "{}\n    UNION ALL\n{}\n    UNION ALL\n    SELECT 'user' AS subject_type, l.user_id AS subject_id, l.linked_at, {columns}\n    FROM {table} AS e JOIN links AS l ON l.anonymous_id = \
                 e.anonymous_id\n    WHERE e.left_out IS NULL AND e.user_id IS NULL",
                own("user", "user_id", "e.user_id IS NOT NULL"),
                own("anonymous", "anonymous_id", "e.user_id IS NULL AND e.anonymous_id IS NOT NULL"),
            ),
        }
    }

    fn reads_of_subjects(&self) -> Vec<Input> {
        let Definition { attribution_days, subject, .. } = self.definition;
        let days = |table: &str, before: Option<u32>, after: u32| Input {
            table: table.to_owned(),
            span: Span::Days { before, after: Some(after) },
        };
        let mut reads = vec![
            days(&self.tables.exposures, None, *attribution_days),
            days(&self.tables.events, Some(self.days_before()), attribution_days + TOLD_AFTER_DAYS),
        ];
        if *subject == Subject::Person {
            reads.push(days("gold.identity_links", None, *attribution_days));
        }
        reads
    }

    /// In `placed`, `due` stands on the left of the join: that is the side kept in memory, and it is as large as the days made; the exposures are all there ever were.
    fn subjects(&self) -> Model {
        let window = self.definition.attribution_days;
        let segments: Vec<String> = self.segments().map(|(name, _)| name).collect();
        let listed = |prefix: &str| segments.iter().map(|name| format!(", {prefix}{name}")).collect::<String>();
        let exposures = match self.definition.subject {
            Subject::Person => format!(
                "    SELECT
        e.event_date, e.source, e.event_id, e.event_time, e.variation_id{segments},
        CASE WHEN e.user_id IS NOT NULL OR l.user_id IS NOT NULL THEN 'user' ELSE 'anonymous' END AS subject_type,
        coalesce(e.user_id, l.user_id, e.anonymous_id) AS subject_id,
        l.linked_at
    FROM {table} AS e LEFT JOIN links AS l
        ON l.anonymous_id = e.anonymous_id AND e.user_id IS NULL AND l.linked_at < e.event_time + INTERVAL '{window}' DAY
    WHERE e.left_out IS NULL",
                segments = listed("e."),
                table = self.tables.exposures,
            ),
            subject => {
                let (kind, id) = if subject == Subject::User { ("user", "user_id") } else { ("anonymous", "anonymous_id") };
                format!(
                    "    SELECT
        e.event_date, e.source, e.event_id, e.event_time, e.variation_id{segments},
        '{kind}' AS subject_type, e.{id} AS subject_id, CASE WHEN FALSE THEN e.event_time END AS linked_at
    FROM {table} AS e
    WHERE e.left_out IS NULL",
                    segments = listed("e."),
                    table = self.tables.exposures,
                )
            }
        };
        let quantities: String = self.quantities().iter().map(|quantity| format!(", e.{}", quantity.name)).collect();
        let firsts: String = segments.iter().map(|name| format!(",\n        max(CASE WHEN place = 1 THEN {name} END) AS {name}")).collect();
        let still = format!(
            "event_time < exposed_at + INTERVAL '{window}' DAY AND (linked_at IS NULL OR linked_at < exposed_at + INTERVAL '{window}' DAY)"
        );
        let mut sql = format!(
            "WITH {links}exposures AS (
{exposures}
), due AS (
    SELECT DISTINCT subject_type, subject_id FROM exposures WHERE event_date IN (SELECT event_date FROM partitions)
), placed AS (
    SELECT
        e.event_date, e.event_time, e.variation_id{segments}, e.subject_type, e.subject_id, e.linked_at,
        row_number() OVER (PARTITION BY e.subject_type, e.subject_id ORDER BY e.event_time, e.event_id, e.source) AS place,
        min(e.event_time) OVER (PARTITION BY e.subject_type, e.subject_id) AS exposed_at
    FROM due JOIN exposures AS e ON due.subject_type = e.subject_type AND due.subject_id = e.subject_id
), exposed AS (
    SELECT
        subject_type, subject_id,
        max(CASE WHEN place = 1 THEN event_date END) AS event_date,
        max(CASE WHEN place = 1 THEN variation_id END) AS variation_id,
        min(exposed_at) AS exposed_at,
        max(CASE WHEN place = 1 AND linked_at IS NOT NULL THEN 1 ELSE 0 END) AS joined,
        sum(CASE WHEN {still} THEN 1 ELSE 0 END) AS exposures,
        min(CASE WHEN {still} THEN variation_id END) AS one_variation,
        max(CASE WHEN {still} THEN variation_id END) AS other_variation{firsts}
    FROM placed
    GROUP BY subject_type, subject_id
), subjects AS (
    SELECT * FROM exposed WHERE event_date IN (SELECT event_date FROM partitions)
), events AS (
{events}
), done AS (
    SELECT s.*, e.event_time{quantities}
    FROM subjects AS s LEFT JOIN events AS e
        ON e.subject_type = s.subject_type AND e.subject_id = s.subject_id
        AND e.event_time >= s.exposed_at - INTERVAL '{before}' DAY
        AND e.event_time < s.exposed_at + INTERVAL '{until}' DAY
        AND (e.linked_at IS NULL OR e.linked_at < s.exposed_at + INTERVAL '{window}' DAY)
)",
            links = self.links(),
            segments = listed("e."),
            events = self.events_of_subjects(&format!("e.event_time{quantities}")),
            before = self.days_before(),
            until = window + TOLD_AFTER_DAYS,
        );
        let last = self.funnels(&mut sql);
        sql.push_str(&format!(
            ", totals AS (
    SELECT
        event_date, subject_type, subject_id, max(variation_id) AS variation_id, min(exposed_at) AS first_exposure_at,
        max(joined) AS joined, max(exposures) AS exposures, max(one_variation) AS one_variation, max(other_variation) AS other_variation,
        sum(CASE WHEN event_time < exposed_at THEN 1 ELSE 0 END) AS events_before,
        sum(CASE WHEN {in_window} THEN 1 ELSE 0 END) AS events,
        sum(CASE WHEN event_time >= exposed_at + INTERVAL '{window}' DAY THEN 1 ELSE 0 END) AS events_after{carried}{totals}
    FROM {last}
    GROUP BY event_date, subject_type, subject_id
)",
            in_window = within(window),
            carried = segments.iter().map(|name| format!(",\n        max({name}) AS {name}")).collect::<String>(),
            totals = self.totals(),
        ));
        let mut amounts = String::new();
        for metric in &self.metrics {
            let name = &metric.name;
            let own = if metric.kind == Kind::TimeTo {
                // Who never did it did not do it in the whole window.
                format!("coalesce({name}, {})", seconds(&format!("CAST({} AS BIGINT)", u64::from(metric.days(window)) * 86_400_000_000)))
            } else {
                name.clone()
            };
            amounts.push_str(&format!(",\n    {} AS {name}", amount(&own, metric.cap)));
            if let Some(other) = self.other(metric) {
                amounts.push_str(&format!(",\n    {} AS {other}", amount(&other, if metric.is_ratio() { None } else { metric.cap })));
            }
        }
        sql.push_str(&format!(
            "
SELECT
    event_date, subject_type, subject_id, variation_id, first_exposure_at,
    joined = 1 AS joined_by_login, exposures, one_variation <> other_variation AS contaminated,
    events_before, events, events_after{segments}{amounts}
FROM totals",
            segments = listed(""),
        ));
        let keys = ["event_date", "subject_type", "subject_id"];
        self.model(
            &self.tables.subjects,
            "The subjects",
            "a subject, on the day of its first exposure",
            &keys,
            self.reads_of_subjects(),
            sql,
        )
    }

    /// The second quantity of a metric: its denominator, or what it was before.
    fn other(&self, metric: &Metric) -> Option<String> {
        if metric.is_ratio() {
            return Some(format!("{}_per", metric.name));
        }
        (metric.has_before() && self.definition.before_days > 0).then(|| format!("{}_before", metric.name))
    }

    fn totals(&self) -> String {
        let (window, before) = (self.definition.attribution_days, self.definition.before_days);
        let mut totals = String::new();
        let mut add = |sql: String, name: &str| totals.push_str(&format!(",\n        {sql} AS {name}"));
        for metric in &self.metrics {
            let name = &metric.name;
            let counted = within(metric.days(window));
            let function = if matches!(metric.kind, Kind::Proportion | Kind::Retention) { "max" } else { "sum" };
            match metric.kind {
                Kind::Retention => {
                    let day = metric.day.unwrap_or_default();
                    add(format!("max(CASE WHEN event_time >= exposed_at + INTERVAL '{day}' DAY AND {counted} THEN {name} END)"), name);
                }
                Kind::TimeTo => {
                    let micros = format!(
                        "min(CASE WHEN {counted} AND {name} IS NOT NULL THEN unix_micros(event_time) - unix_micros(exposed_at) END)"
                    );
                    add(seconds(&micros), name);
                }
                Kind::Funnel => add(format!("max(CASE WHEN {name}_at_{} IS NOT NULL THEN 1 ELSE 0 END)", metric.steps.len()), name),
                _ => add(format!("{function}(CASE WHEN {counted} THEN {name} END)"), name),
            }
            let Some(other) = self.other(metric) else { continue };
            match metric.kind {
                Kind::Mean => add(format!("count(CASE WHEN {counted} THEN {name} END)"), &other),
                Kind::Ratio => add(format!("sum(CASE WHEN {counted} THEN {other} END)"), &other),
                _ => {
                    let earlier = format!("event_time < exposed_at AND event_time >= exposed_at - INTERVAL '{before}' DAY");
                    add(format!("{function}(CASE WHEN {earlier} THEN {name} END)"), &other);
                }
            }
        }
        totals
    }

    /// When each subject reached each step, on all of its rows. Each step is the earliest event after the one before: who can reach a step at all reaches it that way. Gives the name of
    /// what has it.
    fn funnels(&self, sql: &mut String) -> String {
        let mut last = "done".to_owned();
        for metric in self.metrics.iter().filter(|metric| metric.kind == Kind::Funnel) {
            let counted = within(metric.days(self.definition.attribution_days));
            for number in 1..=metric.steps.len() {
                let step = format!("{}_step_{number}", metric.name);
                let after = if number == 1 { String::new() } else { format!(" AND event_time > {}_at_{}", metric.name, number - 1) };
                let name = format!("{}_at_{number}", metric.name);
                sql.push_str(&format!(
                    ", with_{name} AS (
    SELECT *, min(CASE WHEN {counted} AND {step} IS NOT NULL{after} THEN event_time END) OVER (PARTITION BY subject_type, subject_id) AS {name}
    FROM {last}
)"
                ));
                last = format!("with_{name}");
            }
        }
        last
    }

    fn sums(&self) -> Model {
        let names: Vec<String> = self.definition.segments.keys().map(|name| format!("({})", text(name))).collect();
        let segments: Vec<String> = std::iter::once(format!("('{EVERYBODY}')")).chain(names).collect();
        let values: String =
            self.definition.segments.keys().map(|name| format!(" WHEN {} THEN coalesce(segment_{name}, '')", text(name))).collect();
        let value = if values.is_empty() { "''".to_owned() } else { format!("CASE s.segment{values} ELSE '' END") };
        let mut wide = String::new();
        let mut columns: [String; 5] = Default::default();
        for metric in &self.metrics {
            let name = &metric.name;
            let mut add = |place: usize, what: &str, sql: String| {
                wide.push_str(&format!(",\n        {sql} AS {name}_{what}"));
                if let Some(column) = columns.get_mut(place) {
                    column.push_str(&format!(" WHEN {} THEN {name}_{what}", text(name)));
                }
            };
            add(0, "s", format!("sum({name})"));
            add(1, "ss", format!("sum({name} * {name})"));
            if let Some(other) = self.other(metric) {
                add(2, "o", format!("sum({other})"));
                add(3, "oo", format!("sum({other} * {other})"));
                add(4, "so", format!("sum({name} * {other})"));
            }
        }
        let told = ["sum", "sum_of_squares", "other_sum", "other_sum_of_squares", "sum_of_products"];
        let told: String = told
            .iter()
            .zip(&columns)
            .map(|(name, cases)| {
                let kind = if name.ends_with("sum") { "DECIMAL(28, 6)" } else { "DECIMAL(38, 12)" };
                let value = if cases.is_empty() { "NULL".to_owned() } else { format!("CASE m.metric{cases} END") };
                format!(",\n    CAST({value} AS {kind}) AS {name}")
            })
            .collect();
        let sql = format!(
            "WITH counted AS (
    SELECT t.*, s.segment, {value} AS segment_value
    FROM {table} AS t CROSS JOIN (VALUES {segments}) AS s(segment)
    WHERE NOT t.contaminated
), wide AS (
    SELECT
        event_date, variation_id, segment, segment_value, count(*) AS subjects{wide}
    FROM counted
    GROUP BY event_date, variation_id, segment, segment_value
)
SELECT
    w.event_date, w.variation_id, w.segment, w.segment_value, m.metric, w.subjects{told}
FROM wide AS w CROSS JOIN (VALUES {metrics}) AS m(metric)",
            table = self.tables.subjects,
            segments = segments.join(", "),
            metrics = rows_of(&self.metrics),
        );
        let keys = ["event_date", "variation_id", "segment", "segment_value", "metric"];
        let grain = "a day of first exposures, variation, segment and metric";
        self.model(&self.tables.metrics, "Sums over the subjects", grain, &keys, vec![same(&self.tables.subjects)], sql)
    }

    fn values(&self) -> Model {
        let metrics: Vec<&Metric> = self.metrics.iter().copied().filter(|metric| metric.has_values()).collect();
        let cases: String = metrics.iter().map(|metric| format!(" WHEN {} THEN {}", text(&metric.name), metric.name)).collect();
        // Three digits are told apart.
        let steps: String =
            (3..18).map(|digits| format!(" WHEN abs(micros) < {} THEN {}", 10_i64.pow(digits), 10_i64.pow(digits - 3))).collect();
        let sql = format!(
            "WITH told AS (
    SELECT
        t.event_date, t.variation_id, m.metric,
        CAST((CASE m.metric{cases} END) * CAST(1000000 AS DECIMAL(8, 0)) AS BIGINT) AS micros
    FROM {table} AS t CROSS JOIN (VALUES {names}) AS m(metric)
    WHERE NOT t.contaminated
), stepped AS (
    SELECT event_date, variation_id, metric, micros, CASE{steps} ELSE {last} END AS step FROM told
), rounded AS (
    SELECT event_date, variation_id, metric, micros - micros % step AS micros FROM stepped
)
SELECT
    event_date, variation_id, metric, {value} AS value, count(*) AS subjects
FROM rounded
GROUP BY event_date, variation_id, metric, micros",
            table = self.tables.subjects,
            names = rows_of(&metrics),
            last = 10_i64.pow(15),
            value = seconds("micros"),
        );
        let keys = ["event_date", "variation_id", "metric", "value"];
        let grain = "a day of first exposures, variation, metric and value";
        self.model(&self.tables.values, "How many subjects have which value", grain, &keys, vec![same(&self.tables.subjects)], sql)
    }

    /// The metrics whose effect is told by the days since the first exposure.
    fn aged(&self) -> Vec<&Metric> {
        let is_aged = |metric: &&Metric| matches!(metric.kind, Kind::Proportion | Kind::Count | Kind::Sum);
        let primary = |name: &str| self.experiment.definition.metrics.primary.iter().any(|other| other == name);
        self.metrics.iter().copied().filter(|metric| primary(&metric.name)).filter(is_aged).collect()
    }

    fn ages(&self) -> Model {
        let window = self.definition.attribution_days;
        let metrics = self.aged();
        let columns: String = metrics.iter().map(|metric| format!(", e.{}", metric.name)).collect();
        let totals: String = metrics
            .iter()
            .map(|metric| {
                let function = if metric.kind == Kind::Proportion { "max" } else { "sum" };
                let own = format!("{function}({})", metric.name);
                format!(",\n        {} AS {}", amount(&own, metric.cap), metric.name)
            })
            .collect();
        let wide: String =
            metrics.iter().map(|metric| format!(",\n        sum({0}) AS {0}_s, sum({0} * {0}) AS {0}_ss", metric.name)).collect();
        let cases = |what: &str| {
            metrics.iter().map(|metric| format!(" WHEN {} THEN {}_{what}", text(&metric.name), metric.name)).collect::<String>()
        };
        let sql = format!(
            "WITH {links}events AS (
{events}
), done AS (
    SELECT
        t.event_date, t.variation_id, t.subject_type, t.subject_id{plain},
        unix_micros(e.event_time) - unix_micros(t.first_exposure_at) AS micros
    FROM {table} AS t JOIN events AS e
        ON e.subject_type = t.subject_type AND e.subject_id = t.subject_id
        AND e.event_time >= t.first_exposure_at AND e.event_time < t.first_exposure_at + INTERVAL '{window}' DAY
        AND (e.linked_at IS NULL OR e.linked_at < t.first_exposure_at + INTERVAL '{window}' DAY)
    WHERE NOT t.contaminated
), dated AS (
    SELECT *, CAST(CAST(micros - micros % 86400000000 AS DOUBLE) / 86400000000 AS BIGINT) AS age FROM done
), daily AS (
    SELECT event_date, variation_id, age, subject_type, subject_id{totals}
    FROM dated
    GROUP BY event_date, variation_id, age, subject_type, subject_id
), wide AS (
    SELECT
        event_date, variation_id, age{wide}
    FROM daily
    GROUP BY event_date, variation_id, age
)
SELECT
    w.event_date, w.variation_id, m.metric, w.age,
    CAST(CASE m.metric{sums} END AS DECIMAL(28, 6)) AS sum,
    CAST(CASE m.metric{squares} END AS DECIMAL(38, 12)) AS sum_of_squares
FROM wide AS w CROSS JOIN (VALUES {names}) AS m(metric)",
            links = self.links(),
            events = self.events_of_subjects(&format!("e.event_time{columns}")),
            plain = columns,
            table = self.tables.subjects,
            sums = cases("s"),
            squares = cases("ss"),
            names = rows_of(&metrics),
        );
        let mut reads = vec![same(&self.tables.subjects)];
        reads.extend(self.reads_of_subjects().into_iter().filter(|input| input.table != self.tables.exposures).map(|mut input| {
            if input.table == self.tables.events {
                input.span = Span::Days { before: Some(0), after: Some(window) };
            }
            input
        }));
        let keys = ["event_date", "variation_id", "metric", "age"];
        let grain = "a day of first exposures, variation, metric and number of days since";
        self.model(&self.tables.ages, "Sums by the days since the first exposure", grain, &keys, reads, sql)
    }

    fn counts(&self) -> Model {
        let Tables { exposures, events, subjects, .. } = &self.tables;
        let part = |table: &str, variation: &str, measures: &[(&str, &str)]| {
            let names: Vec<String> = measures.iter().map(|(name, _)| format!("('{name}')")).collect();
            let cases: String = measures.iter().map(|(name, sql)| format!("\n        WHEN '{name}' THEN {sql}")).collect();
            format!(
                "SELECT t.event_date, {variation} AS variation_id, m.measure, CAST(sum(CASE m.measure{cases}\n    END) AS BIGINT) AS count
FROM {table} AS t CROSS JOIN (VALUES {}) AS m(measure)
GROUP BY t.event_date, {variation}, m.measure",
                names.join(", ")
            )
        };
        let flag = |sql: &str| format!("CASE WHEN {sql} THEN 1 ELSE 0 END");
        let why = |why: &str| flag(&format!("t.left_out = '{why}'"));
        let (bot, internal, no_subject, no_variation) = (why("bot"), why("internal"), why("no_subject"), why("no_variation"));
        let (late, breaks_plan, unreadable) = (flag("t.is_late"), flag("t.breaks_plan"), flag("t.unreadable"));
        let (contaminated, joined) = (flag("t.contaminated"), flag("t.joined_by_login"));
        let of_exposures = [
            ("exposures", "1"),
            ("exposures_late", &late),
            ("exposures_of_bots", &bot),
            ("exposures_internal", &internal),
            ("exposures_without_subject", &no_subject),
            ("exposures_of_no_variation", &no_variation),
            ("exposures_breaking_plan", &breaks_plan),
        ];
        let of_events = [
            ("events", "1"),
            ("events_late", &late),
            ("events_of_bots", &bot),
            ("events_internal", &internal),
            ("events_without_subject", &no_subject),
            ("events_breaking_plan", &breaks_plan),
            ("events_unreadable", &unreadable),
        ];
        let of_subjects = [
            ("subjects", "1"),
            ("subjects_contaminated", contaminated.as_str()),
            ("subjects_joined_by_login", &joined),
            ("counted_events", "t.events"),
            ("events_before_exposure", "t.events_before"),
            ("events_after_window", "t.events_after"),
        ];
        let sql = [
            part(exposures, "coalesce(t.variation_id, '')", &of_exposures),
            part(events, "''", &of_events),
            part(subjects, "t.variation_id", &of_subjects),
        ]
        .join("\nUNION ALL\n");
        let keys = ["event_date", "variation_id", "measure"];
        let reads = vec![same(exposures), same(events), same(subjects)];
        self.model(&self.tables.counts, "What counted and what did not", "a day, variation and measure", &keys, reads, sql)
    }
}

fn same(table: &str) -> Input {
    Input { table: table.to_owned(), span: Span::SAME }
}

/// The names of metrics as the rows of a `VALUES`.
fn rows_of(metrics: &[&Metric]) -> String {
    metrics.iter().map(|metric| format!("({})", text(&metric.name))).collect::<Vec<_>>().join(", ")
}

fn at(time: DateTime<Utc>) -> String {
    format!("CAST('{}' AS TIMESTAMP)", time.format("%Y-%m-%dT%H:%M:%S%.6fZ"))
}

/// At or after the first exposure, and before so many days are over.
fn within(days: u32) -> String {
    format!("event_time >= exposed_at AND event_time < exposed_at + INTERVAL '{days}' DAY")
}

/// Microseconds as seconds, or millionths as what they are millionths of.
fn seconds(micros: &str) -> String {
    format!("CAST(CAST({micros} AS DECIMAL(19, 0)) * CAST('0.000001' AS DECIMAL(7, 6)) AS {AMOUNT})")
}

/// What a subject has, within bounds; nothing is zero.
fn amount(sql: &str, cap: Option<f64>) -> String {
    let most = cap.map_or_else(|| AMOUNT_MAX.to_owned(), |cap| cap.to_string());
    format!(
        "CAST(least(greatest(coalesce(CAST({sql} AS {WIDE}), CAST(0 AS {WIDE})), CAST('-{AMOUNT_MAX}' AS {WIDE})), CAST('{most}' AS {WIDE})) AS {AMOUNT})"
    )
}
