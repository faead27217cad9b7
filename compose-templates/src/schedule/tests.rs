//! Daylight saving of Europe/Berlin in 2026: 29 March misses 02:00 to 03:00, 25 October has it twice.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

fn when(expression: &str, zone: &str) -> When {
    When::Cron {
        expression: expression.parse().expect("an expression"),
        time_zone: zone.parse().expect("a time zone"),
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a timestamp")
}

/// The first runs after a moment.
fn runs(when: &When, after: &str, count: usize) -> Vec<String> {
    let mut now = at(after);
    (0..count)
        .map(|_| {
            now = when.next(now);
            now.to_string()
        })
        .collect()
}

#[test]
fn an_interval_counts_from_the_last_start() {
    let minute = When::Every(Duration::from_secs(60));
    assert_eq!(
        minute.next(at("2026-01-01T00:00:07Z")),
        at("2026-01-01T00:01:07Z")
    );
}

#[test]
fn a_named_time_is_on_the_zones_clock_all_year() {
    let night = when("30 4 * * *", "Europe/Berlin");
    assert_eq!(
        runs(&night, "2026-01-10T12:00:00Z", 2),
        ["2026-01-11T03:30:00Z", "2026-01-12T03:30:00Z"]
    );
    assert_eq!(
        runs(&night, "2026-07-10T12:00:00Z", 1),
        ["2026-07-11T02:30:00Z"]
    );
}

#[test]
fn a_time_that_the_day_misses_runs_once_right_after_the_gap() {
    let night = when("30 2 * * *", "Europe/Berlin");
    assert_eq!(
        runs(&night, "2026-03-28T00:00:00Z", 3),
        [
            "2026-03-28T01:30:00Z",
            "2026-03-29T01:00:00Z",
            "2026-03-30T00:30:00Z"
        ]
    );
    // Twelve times of that hour, and 03:00 itself: one run.
    let often = when("*/5 2,3 * * *", "Europe/Berlin");
    assert_eq!(
        runs(&often, "2026-03-29T00:00:00Z", 2),
        ["2026-03-29T01:00:00Z", "2026-03-29T01:05:00Z"]
    );
}

#[test]
fn a_time_that_comes_twice_runs_once() {
    let night = when("30 2 * * *", "Europe/Berlin");
    assert_eq!(
        runs(&night, "2026-10-24T12:00:00Z", 2),
        ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
    // Asked between the two: the second 02:30 is none of its own.
    assert_eq!(
        runs(&night, "2026-10-25T01:10:00Z", 1),
        ["2026-10-26T01:30:00Z"]
    );
}

#[test]
fn every_hour_means_time_that_passes() {
    let hourly = when("15 * * * *", "Europe/Berlin");
    assert_eq!(
        runs(&hourly, "2026-10-24T23:20:00Z", 3),
        [
            "2026-10-25T00:15:00Z",
            "2026-10-25T01:15:00Z",
            "2026-10-25T02:15:00Z"
        ]
    );
    assert_eq!(
        runs(&hourly, "2026-03-29T00:00:00Z", 3),
        [
            "2026-03-29T00:15:00Z",
            "2026-03-29T01:15:00Z",
            "2026-03-29T02:15:00Z"
        ]
    );
}

#[test]
fn zones_with_other_habits() {
    // Half an hour of summer time; a gap at midnight; a day that never was.
    assert_eq!(
        runs(
            &when("15 2 * * *", "Australia/Lord_Howe"),
            "2026-10-03T12:00:00Z",
            1
        ),
        ["2026-10-03T15:30:00Z"]
    );
    assert_eq!(
        runs(
            &when("0 0 * * *", "America/Havana"),
            "2026-03-08T00:00:00Z",
            1
        ),
        ["2026-03-08T05:00:00Z"]
    );
    assert_eq!(
        runs(
            &when("0 10 * * *", "Pacific/Apia"),
            "2011-12-29T21:00:00Z",
            2
        ),
        ["2011-12-30T10:00:00Z", "2011-12-30T20:00:00Z"]
    );
}

#[test]
fn days_and_names() {
    let weekdays = when("0 9 * * MON-fri", "UTC");
    assert_eq!(
        runs(&weekdays, "2026-11-20T10:00:00Z", 1),
        ["2026-11-23T09:00:00Z"]
    );
    // Sunday has two numbers; either day will do where both are restricted.
    let either = when("0 0 1 * 7", "UTC");
    assert_eq!(
        runs(&either, "2026-11-28T00:00:00Z", 2),
        ["2026-11-29T00:00:00Z", "2026-12-01T00:00:00Z"]
    );
    let leap = when("0 0 29 feb *", "UTC");
    assert_eq!(
        runs(&leap, "2096-03-01T00:00:00Z", 1),
        ["2104-02-29T00:00:00Z"]
    );
    let stepped = when("10/20 1-5/2 * * *", "UTC");
    assert_eq!(
        runs(&stepped, "2026-01-01T00:00:00Z", 4),
        [
            "2026-01-01T01:10:00Z",
            "2026-01-01T01:30:00Z",
            "2026-01-01T01:50:00Z",
            "2026-01-01T03:10:00Z"
        ]
    );
}

#[test]
fn what_is_no_schedule_is_refused() {
    for bad in [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "5-1 * * * *",
        "+5 * * * *",
        "1,,2 * * * *",
        "a * * * *",
        "mon * * * *",
        "0 0 30 2 *",
        "@daily",
        "* *  * * *",
    ] {
        assert!(bad.parse::<CronExpression>().is_err(), "{bad}");
    }
    for bad in [
        "",
        "Berlin",
        "europe/berlin",
        "Local",
        "+02:00",
        "EST5EDT,M3",
    ] {
        assert!(bad.parse::<TimeZoneName>().is_err(), "{bad}");
    }
}

/// A few fields of each kind, so that expressions are often met.
fn field(choices: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(choices)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Against a clock that is asked every minute. Three days around a change of the clock, and any other.
    #[test]
    fn no_run_is_missed_and_none_is_made_up(
        minute in field(&["*", "0", "30", "*/7", "59"]),
        hour in field(&["*", "2", "3", "1-3", "*/6"]),
        weekday in field(&["*", "sun", "1-5"]),
        day in proptest::sample::select(&["2026-03-28", "2026-10-24", "2026-06-30"][..]),
        offset in 0_i64..86_400,
    ) {
        let expression: CronExpression = format!("{minute} {hour} * * {weekday}").parse().expect("an expression");
        let zone = TimeZoneDatabase::bundled().get("Europe/Berlin").expect("a time zone");
        let start = at(&format!("{day}T00:00:00Z")) + offset.seconds();
        let next = expression.next(start, &zone).expect("there is a next one");
        prop_assert!(next > start);
        let shows = |instant: Timestamp| {
            let clock = zone.to_datetime(instant);
            expression.holds(clock.date()) && expression.times().any(|time| time == clock.time())
        };
        let mut minute = start - (offset % 60).seconds() + 1.minute();
        while minute < next {
            // The clock shows it, yet it does not run: only because it showed it an hour before.
            let again = !expression.hours.all && zone.to_datetime(minute - 1.hour()) == zone.to_datetime(minute);
            prop_assert!(!shows(minute) || again, "{expression} missed {minute}");
            minute += 1.minute();
        }
        // The clock shows it, or has just jumped over it.
        let jumped = zone.to_offset(next) != zone.to_offset(next - 1.second());
        prop_assert!(shows(next) || jumped, "{expression} made up {next}");
    }
}
