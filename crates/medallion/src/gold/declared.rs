//! Funnels and retention: declared in a few lines, made into the SQL of a model.

use std::time::Duration;

use serde::Deserialize;

use super::{Input, Model, ModelError, SCHEMA, Span};

/// Steps of a funnel, and days told by a retention.
const PARTS_MAX: usize = 20;
/// Days that either may reach.
const DAYS_MAX: u32 = 400;
/// Declared models reach over days, so they are not made anew with every commit of Silver.
const EVERY: Duration = Duration::from_secs(60);
const SUBJECT: &str = "coalesce(user_id, anonymous_id)";

/// What a file declares: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Declared {
    /// How many of those who take the first step take the others after it.
    Funnel(Funnel),
    /// How many of those who begin on a day are there again so many days later.
    Retention(Retention),
}

/// A funnel: who takes the first step on a day, and each of the others after the one before it, within so many days of the first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Funnel {
    /// What it is for.
    #[serde(default)]
    pub about: String,
    /// Days from the first step within which the others count.
    pub within_days: u32,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// A step of a funnel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Step {
    /// Its name in the table; none has the name of another.
    pub name: String,
    /// Which events are such a step.
    #[serde(flatten)]
    pub condition: Condition,
}

/// Which events are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Condition {
    /// Those of this type.
    pub event_type: Option<String>,
    /// Those for which this SQL over the columns of `silver.events` holds.
    #[serde(rename = "where")]
    pub holds: Option<String>,
}

/// Retention: who begins on a day, and is there again so many days later.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// What it is for.
    #[serde(default)]
    pub about: String,
    /// The events that begin it.
    pub starts: Condition,
    /// Where it is given, only those begin who have not done so in that many days before.
    pub new_for_days: Option<u32>,
    /// The events that count as being there again; all where nothing is said.
    #[serde(default)]
    pub returns: Condition,
    /// The days after the first that are told.
    pub days: Vec<u32>,
}

impl Declared {
    /// The model of the table `gold.{name}`.
    ///
    /// # Errors
    /// What is wrong with it; a declaration has no lines any more, so the line is 1.
    pub fn model(&self, name: &str) -> Result<Model, ModelError> {
        let (text, model) = match self {
            Self::Funnel(funnel) => (funnel.check().map(|()| funnel.sql()), funnel.frame()),
            Self::Retention(retention) => (retention.check().map(|()| retention.sql()), retention.frame()),
        };
        let sql = text.map_err(|what| ModelError { line: 1, what })?;
        // The names of tables have one rule, and the other parser knows it.
        let name = Model::parse(name, "-- grain: x\n-- keys: x\n-- reads: silver.events\nSELECT")?.name;
        debug_assert!(name.starts_with(SCHEMA));
        Ok(Model { name, sql, ..model })
    }
}

impl Condition {
    fn sql(&self) -> String {
        let event_type = self.event_type.as_ref().map(|name| format!("event_type = '{}'", name.replace('\'', "''")));
        let parts: Vec<String> = event_type.into_iter().chain(self.holds.as_ref().map(|sql| format!("({sql})"))).collect();
        if parts.is_empty() { "TRUE".to_owned() } else { parts.join(" AND ") }
    }

    fn is_empty(&self) -> bool {
        self.event_type.is_none() && self.holds.is_none()
    }
}

impl Funnel {
    fn check(&self) -> Result<(), String> {
        if self.steps.len() < 2 || self.steps.len() > PARTS_MAX {
            return Err(format!("a funnel has 2 to {PARTS_MAX} steps; this one has {}", self.steps.len()));
        }
        check_days("within_days", self.within_days)?;
        for (number, step) in self.steps.iter().enumerate() {
            if step.name.is_empty() || self.steps.iter().take(number).any(|other| other.name == step.name) {
                return Err(format!("step {} needs a name that no other step has", number + 1));
            }
            if step.condition.is_empty() {
                return Err(format!("the step {} needs an event_type or a where", step.name));
            }
        }
        Ok(())
    }

    fn frame(&self) -> Model {
        Model {
            name: String::new(),
            about: self.about.clone(),
            grain: "a day of the first step, source and step".to_owned(),
            keys: ["event_date", "source", "step"].map(str::to_owned).into(),
            partition_by: "event_date".to_owned(),
            // A window of whole days from a time of day ends on one day more.
            reads: vec![events(0, self.within_days)],
            every: EVERY,
            sql: String::new(),
        }
    }

    /// Each step is the earliest event after the one before: who can reach a step at all reaches it that way.
    fn sql(&self) -> String {
        let mut sql = format!(
            "WITH events AS (\n    SELECT *, {SUBJECT} AS subject FROM silver.events\n    WHERE NOT is_bot AND {SUBJECT} IS NOT NULL\n)"
        );
        for (number, step) in (1..).zip(&self.steps) {
            let condition = step.condition.sql();
            let text = if number == 1 {
                format!(
                    ", step_1 AS (\n    SELECT event_date, source, subject, min(event_time) AS began_at, min(event_time) AS reached_at\n    FROM events WHERE \
                     {condition}\n    GROUP BY event_date, source, subject\n)"
                )
            } else {
                format!(
                    ", step_{number} AS (\n    SELECT earlier.event_date, earlier.source, earlier.subject, earlier.began_at, min(steps.event_time) AS reached_at\n    \
                     FROM step_{} AS earlier JOIN (SELECT source, subject, event_time FROM events WHERE {condition}) AS steps\n        ON steps.source = earlier.source AND \
                     steps.subject = earlier.subject\n        AND steps.event_time > earlier.reached_at AND steps.event_time < earlier.began_at + INTERVAL '{}' DAY\n    \
                     GROUP BY earlier.event_date, earlier.source, earlier.subject, earlier.began_at\n)",
                    number - 1,
                    self.within_days
                )
            };
            sql.push_str(&text);
        }
        for (number, step) in (1..).zip(&self.steps) {
            let joint = if number == 1 { "" } else { "UNION ALL\n" };
            let name = step.name.replace('\'', "''");
            sql.push_str(&format!(
"\n{joint}SELECT event_date, source, CAST({number} AS BIGINT) AS step, '{name}' AS step_name, count(*) AS subjects FROM step_{number} GROUP BY event_date, \
                 source"
            ));
        }
        sql
    }
}

impl Retention {
    fn check(&self) -> Result<(), String> {
        if self.days.is_empty() || self.days.len() > PARTS_MAX {
            return Err(format!("a retention tells 1 to {PARTS_MAX} days; this one has {}", self.days.len()));
        }
        if self.starts.is_empty() {
            return Err("starts needs an event_type or a where".to_owned());
        }
        for (number, day) in self.days.iter().enumerate() {
            check_days("days", *day)?;
            if self.days.iter().take(number).any(|other| other == day) {
                return Err(format!("day {day} is named twice"));
            }
        }
        self.new_for_days.map_or(Ok(()), |days| check_days("new_for_days", days))
    }

    fn frame(&self) -> Model {
        Model {
            name: String::new(),
            about: self.about.clone(),
            grain: "a day and source: those who began on it".to_owned(),
            keys: ["event_date", "source"].map(str::to_owned).into(),
            partition_by: "event_date".to_owned(),
            reads: vec![events(self.new_for_days.unwrap_or_default(), self.days.iter().copied().max().unwrap_or_default())],
            every: EVERY,
            sql: String::new(),
        }
    }

    fn sql(&self) -> String {
        let (starts, returns) = (self.starts.sql(), self.returns.sql());
        let is_new = self
            .new_for_days
            .map_or(String::new(), |days| format!("\n    WHERE date_before IS NULL OR date_before < event_date - INTERVAL '{days}' DAY"));
        let mut sql = format!(
            "WITH events AS (\n    SELECT *, {SUBJECT} AS subject FROM silver.events\n    WHERE NOT is_bot AND {SUBJECT} IS NOT NULL\n), started AS (\n    SELECT DISTINCT \
             event_date, source, subject FROM events WHERE {starts}\n), compared AS (\n    SELECT *, lag(event_date) OVER (PARTITION BY source, subject ORDER BY event_date) AS \
             date_before FROM started\n), began AS (\n    SELECT event_date, source, subject FROM compared{is_new}\n), returned AS (\n    SELECT DISTINCT event_date, source, \
             subject FROM events WHERE {returns}\n)\nSELECT\n    began.event_date,\n    began.source,\n    count(DISTINCT began.subject) AS subjects"
        );
        for day in &self.days {
            sql.push_str(&format!(
",\n    count(DISTINCT CASE WHEN returned.event_date = began.event_date + INTERVAL '{day}' DAY THEN began.subject END) AS day_{day}"
            ));
        }
        sql.push_str(
            "\nFROM began LEFT JOIN returned ON returned.source = began.source AND returned.subject = began.subject\nGROUP BY began.event_date, began.source",
        );
        sql
    }
}

fn events(before: u32, after: u32) -> Input {
    Input { table: "silver.events".to_owned(), span: Span::Days { before: Some(before), after: Some(after) } }
}

fn check_days(name: &str, days: u32) -> Result<(), String> {
    if (1..=DAYS_MAX).contains(&days) { Ok(()) } else { Err(format!("{name} must be 1 to {DAYS_MAX}, not {days}")) }
}
