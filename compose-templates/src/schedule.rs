//! When a scheduled task runs: an interval, or a cron expression in a time zone. Pure: the caller brings the time.
//!
//! A day may miss an hour or have one twice. An expression that names its hours means the clock on the wall: a time that the day
//! misses runs once, right after the gap, and a time that comes twice runs the first time only. One whose hour is `*` means time that
//! passes: it runs as often in a long day as there are hours.

use std::{fmt, str::FromStr, time::Duration};

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};
use serde::{Deserialize, Serialize, Serializer};

use crate::scalar::{ScalarError, deserialize_through_text, through_text};
use serde::Deserializer;

/// Days looked at for the next run: 29 February comes again after eight years at most (1896, 1904).
const DAYS_AHEAD: u32 = 8 * 366 + 1;

/// When a task runs by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Time between starts.
    Every(Duration),
    /// At the times an expression names.
    Cron {
        /// Which times.
        expression: CronExpression,
        /// On whose clock.
        time_zone: TimeZoneName,
    },
}

/// Five fields: minute, hour, day of the month, month, day of the week. Each is `*` or a list of numbers and ranges, with `/step`;
/// months and days of the week may be named (`jan`, `mon`). Where both days are restricted, either will do, as in every cron.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronExpression {
    text: String,
    minutes: Values,
    hours: Values,
    days: Values,
    months: Values,
    weekdays: Values,
}

/// A time zone by its IANA name, such as `Europe/Berlin`. Its rules come with this release, not from the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeZoneName(TimeZone);

/// A set of small numbers, and whether it holds all that its field can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Values {
    bits: u64,
    all: bool,
}

/// What a field can have.
struct Field {
    name: &'static str,
    low: u8,
    high: u8,
    /// Names from `low` on.
    words: &'static [&'static str],
}

const MINUTE: Field = Field::numbers("minute", 0, 59);
const HOUR: Field = Field::numbers("hour", 0, 23);
const DAY: Field = Field::numbers("day of the month", 1, 31);
const MONTH: Field = Field {
    name: "month",
    low: 1,
    high: 12,
    words: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
/// Sunday is 0 and 7.
const WEEKDAY: Field = Field {
    name: "day of the week",
    low: 0,
    high: 7,
    words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

impl When {
    /// The first time after `after`. An interval counts from there.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Timestamp {
        match self {
            Self::Every(every) => after.checked_add(*every).unwrap_or(Timestamp::MAX),
            Self::Cron {
                expression,
                time_zone,
            } => expression
                .next(after, &time_zone.0)
                .unwrap_or(Timestamp::MAX),
        }
    }
}

impl CronExpression {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut date = zone.to_datetime(after).date();
        for _ in 0..DAYS_AHEAD {
            if self.holds(date) {
                let first = self
                    .times()
                    .flat_map(|time| self.instants(date.to_datetime(time), zone))
                    .flatten()
                    .filter(|instant| *instant > after)
                    .min();
                if first.is_some() {
                    return first;
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// Whether it has any time on a day.
    fn holds(&self, date: Date) -> bool {
        let day = self.days.has(date.day().unsigned_abs());
        let weekday = self
            .weekdays
            .has(date.weekday().to_sunday_zero_offset().unsigned_abs());
        let days = if self.days.all || self.weekdays.all {
            day && weekday
        } else {
            day || weekday
        };
        days && self.months.has(date.month().unsigned_abs())
    }

    fn times(&self) -> impl Iterator<Item = Time> {
        let hours = (0..24_u8).filter(|hour| self.hours.has(*hour));
        hours.flat_map(|hour| {
            let minutes = (0..60_u8).filter(|minute| self.minutes.has(*minute));
            minutes.filter_map(move |minute| {
                Time::new(hour.cast_signed(), minute.cast_signed(), 0, 0).ok()
            })
        })
    }

    /// When a clock shows a time and the task runs: once, or never, or twice.
    fn instants(&self, at: DateTime, zone: &TimeZone) -> [Option<Timestamp>; 2] {
        match zone.to_ambiguous_timestamp(at).offset() {
            AmbiguousOffset::Unambiguous { offset } => [offset.to_timestamp(at).ok(), None],
            AmbiguousOffset::Gap { .. } if self.hours.all => [None, None],
            AmbiguousOffset::Gap { before, .. } => {
                let end_of_gap = before
                    .to_timestamp(at)
                    .and_then(|late| late.checked_add(1.second()))
                    .ok()
                    .and_then(|late| zone.preceding(late).next())
                    .map(|transition| transition.timestamp());
                [end_of_gap, None]
            }
            AmbiguousOffset::Fold { before, after } => [
                before.to_timestamp(at).ok(),
                self.hours
                    .all
                    .then(|| after.to_timestamp(at).ok())
                    .flatten(),
            ],
        }
    }
}

impl FromStr for CronExpression {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fields: Vec<&str> = text.split(' ').collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(ScalarError::new(
                "a schedule has five fields with one space between them: minute, hour, day, month, day of the week",
            ));
        };
        let mut weekdays = WEEKDAY.values(weekdays)?;
        if weekdays.has(7) {
            weekdays.bits |= 1;
        }
        let weekdays = Values {
            all: weekdays.bits & 0x7f == 0x7f,
            ..weekdays
        };
        let expression = Self {
            text: text.to_owned(),
            minutes: MINUTE.values(minutes)?,
            hours: HOUR.values(hours)?,
            days: DAY.values(days)?,
            months: MONTH.values(months)?,
            weekdays,
        };
        if expression
            .next(Timestamp::UNIX_EPOCH, &TimeZone::UTC)
            .is_none()
        {
            return Err(ScalarError::new("no day is ever like that"));
        }
        Ok(expression)
    }
}

impl Field {
    const fn numbers(name: &'static str, low: u8, high: u8) -> Self {
        Self {
            name,
            low,
            high,
            words: &[],
        }
    }

    fn values(&self, text: &str) -> Result<Values, ScalarError> {
        let mut bits = 0;
        for item in text.split(',') {
            bits |= self.item(item)?;
        }
        Ok(Values {
            bits,
            all: (self.low..=self.high).all(|value| bits & (1 << value) != 0),
        })
    }

    /// `*`, `5`, `1-5`, each with `/2`.
    fn item(&self, text: &str) -> Result<u64, ScalarError> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let (low, high) = match range.split_once('-') {
            _ if range == "*" => (self.low, self.high),
            Some((low, high)) => (self.value(low)?, self.value(high)?),
            // A start with a step goes on to the end.
            None => {
                let value = self.value(range)?;
                (value, if step.is_some() { self.high } else { value })
            }
        };
        let step = step.map_or(Some(1), |step| {
            number(step).filter(|step| (1..=self.high).contains(step))
        });
        match step {
            Some(step) if low <= high => Ok((low..=high)
                .step_by(usize::from(step))
                .fold(0, |bits, value| bits | 1 << value)),
            _ => Err(self.wrong(text)),
        }
    }

    fn value(&self, text: &str) -> Result<u8, ScalarError> {
        let named = || {
            let lower = text.to_ascii_lowercase();
            let at = self.words.iter().position(|word| **word == lower)?;
            u8::try_from(at).ok().map(|at| at + self.low)
        };
        number(text)
            .or_else(named)
            .filter(|value| (self.low..=self.high).contains(value))
            .ok_or_else(|| self.wrong(text))
    }

    fn wrong(&self, text: &str) -> ScalarError {
        let (name, low, high) = (self.name, self.low, self.high);
        ScalarError::new(format!("`{text}` is no {name}: {low} to {high}"))
    }
}

/// Digits only: no sign.
fn number(text: &str) -> Option<u8> {
    let digits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl Values {
    const fn has(self, value: u8) -> bool {
        self.bits & (1 << value) != 0
    }
}

impl TimeZoneName {
    /// The IANA name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }
}

impl FromStr for TimeZoneName {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        TimeZoneDatabase::bundled()
            .get(text)
            .ok()
            // One spelling only: names are found in any case.
            .filter(|zone| zone.iana_name() == Some(text))
            .map(Self)
            .ok_or_else(|| {
                ScalarError::new("a time zone is an IANA name such as Europe/Berlin or UTC")
            })
    }
}

impl fmt::Display for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for TimeZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(every) => write!(f, "every {} s", every.as_secs()),
            Self::Cron {
                expression,
                time_zone,
            } => write!(f, "{expression} {time_zone}"),
        }
    }
}

deserialize_through_text!(CronExpression, TimeZoneName);

impl Serialize for CronExpression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Serialize for TimeZoneName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
