//! Which days a rebuild is of. Pure.

use arrow::array::{AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Date32Type;
use chrono::NaiveDate;

use crate::error::Error;

/// A range of event dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Days {
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
}

impl Days {
    /// From the first day to that before the second.
    ///
    /// # Errors
    /// `Setting` when that is no day.
    pub(crate) fn new(from: Option<NaiveDate>, to: Option<NaiveDate>) -> Result<Self, Error> {
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            return Err(Error::Setting(format!(
                "there is no day from {from} up to, and without, {to}: --to must be a later day than --from"
            )));
        }
        Ok(Self { from, to })
    }

    /// Every day.
    pub(crate) fn all() -> Self {
        Self { from: None, to: None }
    }

    pub(crate) fn is_all(self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// Whether it has this day, as days since 1970-01-01.
    pub(crate) fn has(self, days: i32) -> bool {
        let number = |date: NaiveDate| date.to_epoch_days();
        self.from.is_none_or(|from| number(from) <= days) && self.to.is_none_or(|to| days < number(to))
    }

    /// The rows whose `event_date` it has.
    pub(crate) fn only(self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let dates = batch.column_by_name("event_date").and_then(|column| column.as_primitive_opt::<Date32Type>());
        let Some(dates) = dates.filter(|_| !self.is_all()) else { return Ok(batch.clone()) };
        let mask: BooleanArray = dates.iter().map(|date| Some(date.is_some_and(|date| self.has(date)))).collect();
        Ok(filter_record_batch(batch, &mask).map_err(medallion::Error::from)?)
    }
}

impl std::fmt::Display for Days {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |date: Option<NaiveDate>| date.map_or_else(String::new, |date| date.to_string());
        write!(f, "{}..{}", text(self.from), text(self.to))
    }
}

impl std::str::FromStr for Days {
    type Err = Error;

    /// Reads what it is shown as.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Setting(format!("`{text}` is no range of days"));
        let (from, to) = text.split_once("..").ok_or_else(wrong)?;
        let date = |text: &str| if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| wrong()) };
        Self::new(date(from)?, date(to)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_a_first_and_no_last() {
        let date = |day: u32| NaiveDate::from_ymd_opt(2026, 11, day);
        let number = |day: u32| date(day).unwrap().to_epoch_days();
        let check = |from: Option<u32>, to: Option<u32>, expect: [bool; 3]| {
            let days = Days::new(from.and_then(date), to.and_then(date)).unwrap();
            assert_eq!(days.to_string().parse::<Days>().unwrap(), days);
            assert_eq!([22, 23, 24].map(|day| days.has(number(day))), expect, "{days}");
        };
        check(None, None, [true, true, true]);
        check(Some(23), None, [false, true, true]);
        check(None, Some(23), [true, false, false]);
        check(Some(23), Some(24), [false, true, false]);
        assert!(Days::new(date(23), date(23)).is_err() && "2026-11-23".parse::<Days>().is_err() && "a..".parse::<Days>().is_err());
    }
}
