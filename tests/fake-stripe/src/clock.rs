//! What becomes of things as time passes.

use serde_json::Value;

use crate::books::Books;

/// What is due at some time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Due {
    Expire(String),
    Finalize(String),
    Retry(String),
    EndPeriod(String),
}

impl Books {
    /// The fake's clock shows `now`: what was due until then happens, each at its time. It never goes back.
    pub(crate) fn pass_to(&mut self, now: i64) {
        while let Some((at, due)) = self.next_due()
            && at <= now
        {
            self.now = self.now.max(at);
            match due {
                Due::Expire(session) => self.expire(&session),
                Due::Finalize(invoice) => self.finalize(&invoice),
                Due::Retry(invoice) => self.collect(&invoice),
                Due::EndPeriod(subscription) => self.end_period(&subscription),
            }
        }
        self.now = self.now.max(now);
    }

    fn next_due(&self) -> Option<(i64, Due)> {
        let all = |prefix: &str, field: fn(&Value) -> &Value, due: fn(String) -> Due| {
            let dues = self.objects.of(prefix).filter_map(|object| {
                let at = field(object).as_i64()?;
                Some((at, due(object["id"].as_str()?.to_owned())))
            });
            dues.min()
        };
        [
            all(
                "cs_",
                |session| match session["status"] == "open" {
                    true => &session["expires_at"],
                    false => &Value::Null,
                },
                Due::Expire,
            ),
            all(
                "in_",
                |invoice| &invoice["automatically_finalizes_at"],
                Due::Finalize,
            ),
            all(
                "in_",
                |invoice| &invoice["next_payment_attempt"],
                Due::Retry,
            ),
            all(
                "sub_",
                |subscription| match subscription["ended_at"].is_null() {
                    true => &subscription["items"]["data"][0]["current_period_end"],
                    false => &Value::Null,
                },
                Due::EndPeriod,
            ),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// Days since 1970 of a day of the calendar. Howard Hinnant, `days_from_civil`.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The day of the calendar of a time: year, month, day. Howard Hinnant, `civil_from_days`.
fn civil(at: i64) -> (i64, i64, i64) {
    let shifted = at.div_euclid(86_400) + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// `20260131`.
pub(crate) fn date(at: i64) -> String {
    let (year, month, day) = civil(at);
    format!("{year:04}{month:02}{day:02}")
}

/// So many months later, at the same time of the day, on the same day of the month or its last.
pub(crate) fn months_later(at: i64, months: i64) -> i64 {
    let (year, month, day) = civil(at);
    on_day(year, month + months, day) + at.rem_euclid(86_400)
}

/// The beginning of a day of a month that may be past the year's last; of the month's last day where it has none such.
fn on_day(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = (
        year + (month - 1).div_euclid(12),
        (month - 1).rem_euclid(12) + 1,
    );
    let next = days(year + month / 12, month % 12 + 1, 1);
    let last = next - days(year, month, 1);
    (days(year, month, 1) + day.min(last) - 1) * 86_400
}

/// The first time after `start` that a `billing_cycle_anchor_config` names. What it leaves open is as at `start`.
pub(crate) fn anchor(start: i64, config: &Value) -> i64 {
    let (year, month, day) = civil(start);
    let of_day = start.rem_euclid(86_400);
    let part = |name: &str, otherwise: i64| config[name].as_i64().unwrap_or(otherwise);
    let time = part("hour", of_day / 3_600) * 3_600
        + part("minute", of_day / 60 % 60) * 60
        + part("second", of_day % 60);
    let day = part("day_of_month", day);
    let times = (0..3).map(|months| on_day(year, month + months, day) + time);
    times
        .filter(|at| start < *at)
        .min()
        .expect("a month after this one")
}

/// The end of the period that begins at `start`, of a price that recurs so.
pub(crate) fn period_end(start: i64, cycle_anchor: i64, recurring: &Value) -> i64 {
    let count = recurring["interval_count"].as_i64().unwrap_or(1);
    match recurring["interval"].as_str() {
        Some("day") => start + count * 86_400,
        Some("week") => start + count * 7 * 86_400,
        interval => {
            let months = if interval == Some("year") { 12 } else { 1 } * count;
            (0..)
                .map(|n| months_later(cycle_anchor, n * months))
                .find(|end| start < *end)
                .expect("time goes on")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{anchor, civil, date, days, months_later, period_end};

    const DAY: i64 = 86_400;

    fn at(year: i64, month: i64, day: i64) -> i64 {
        days(year, month, day) * DAY
    }

    #[test]
    fn months_have_the_days_they_have() {
        assert_eq!(date(0), "19700101");
        assert_eq!(date(at(2026, 11, 30) + DAY), "20261201");
        assert_eq!(months_later(at(2026, 1, 31) + 5, 1), at(2026, 2, 28) + 5);
        assert_eq!(months_later(at(2026, 12, 1), 1), at(2027, 1, 1));
        assert_eq!(months_later(at(2024, 2, 29), 12), at(2025, 2, 28));
    }

    #[test]
    fn a_cycle_begins_at_the_next_time_its_anchor_names() {
        let first = json!({ "day_of_month": 1, "hour": 0, "minute": 0, "second": 0 });
        assert_eq!(anchor(at(2026, 11, 27) + 5, &first), at(2026, 12, 1));
        assert_eq!(anchor(at(2026, 12, 1), &first), at(2027, 1, 1));
        let last = json!({ "day_of_month": 31, "hour": 1, "minute": 2, "second": 3 });
        assert_eq!(anchor(at(2026, 2, 1), &last), at(2026, 2, 28) + 3_723);
        let monthly = json!({ "interval": "month", "interval_count": 1 });
        assert_eq!(
            period_end(at(2026, 1, 31), at(2026, 1, 31), &monthly),
            at(2026, 2, 28)
        );
        assert_eq!(
            period_end(at(2026, 2, 28), at(2026, 1, 31), &monthly),
            at(2026, 3, 31)
        );
    }

    proptest! {
        #[test]
        fn days_are_those_of_the_calendar(day in 0_i64..100_000) {
            let (year, month, of_month) = civil(day * DAY);
            prop_assert_eq!(days(year, month, of_month), day);
        }
    }
}
