//! What a tenant has used, as it is kept beyond the counts themselves.

use crate::{TenantId, UnixSecs};

/// Requests of one day.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DayTally {
    /// Those that were admitted.
    pub requests: u32,
    /// Those that a limit denied.
    pub denied: u32,
}

impl DayTally {
    /// The larger of each: counts only grow.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            requests: self.requests.max(other.requests),
            denied: self.denied.max(other.denied),
        }
    }
}

/// What a tenant has used on the days of one month (UTC): one record for all of them, since each costs a record's overhead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MonthUsage {
    /// Days since the epoch.
    first_day: u64,
    /// By the days after the first, in their order.
    days: Vec<(u8, DayTally)>,
}

impl MonthUsage {
    /// How many days after the month it is kept: as many as anybody may ask for.
    const KEPT_DAYS: u64 = 400;

    /// Days of the longest month.
    const DAYS_MAX: u8 = 31;

    /// The month of that day, without anything used.
    #[must_use]
    pub fn of_day(day: u64) -> Self {
        Self {
            first_day: first_of_month(day),
            days: Vec::new(),
        }
    }

    /// What [`first_day`](Self::first_day) and [`days`](Self::days) have told. `None`: that is no month.
    #[must_use]
    pub fn of_parts(first_day: u64, days: Vec<(u8, DayTally)>) -> Option<Self> {
        let are_in_order = days.is_sorted_by(|(one, _), (next, _)| one < next);
        let last = days.last().map_or(0, |(after, _)| *after);
        // Such as the 30th of February.
        let is_in_month = first_of_month(first_day.saturating_add(last.into())) == first_day;
        (are_in_order && last < Self::DAYS_MAX && is_in_month).then_some(Self { first_day, days })
    }

    /// Under what name the month of that day is kept for a tenant, such as `tn_0123456789abcdef/2026-11`.
    #[must_use]
    pub fn name(tenant: TenantId, day: u64) -> String {
        let mut name = format!("{tenant}/{}", UnixSecs::of_day(day).date());
        name.truncate(name.len() - "-21".len());
        name
    }

    /// Its first day, since the epoch.
    #[must_use]
    pub const fn first_day(&self) -> u64 {
        self.first_day
    }

    /// Days on which something was used, by how many are between them and the first, in their order.
    #[must_use]
    pub fn days(&self) -> &[(u8, DayTally)] {
        &self.days
    }

    /// What was used on that day since the epoch.
    #[must_use]
    pub fn of(&self, day: u64) -> DayTally {
        let place = self.place(day).and_then(Result::ok);
        place.map_or(DayTally::default(), |place| self.days[place].1)
    }

    /// So much was used on that day since the epoch, at least. `true`: it was not known. A day of another month is not taken in.
    pub fn raise(&mut self, day: u64, tally: DayTally) -> bool {
        let known = self.of(day);
        let raised = known.max(tally);
        if raised == known {
            return false;
        }
        match self.place(day) {
            Some(Ok(place)) => self.days[place].1 = raised,
            Some(Err(place)) => self.days.insert(place, (self.after_first(day), raised)),
            None => return false,
        }
        true
    }

    /// Both: of each day the larger.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (after, tally) in &other.days {
            both.raise(other.first_day + u64::from(*after), *tally);
        }
        both
    }

    /// From when on nobody asks for it any more.
    #[must_use]
    pub fn over_at(&self) -> UnixSecs {
        UnixSecs::of_day(self.first_day + u64::from(Self::DAYS_MAX) + Self::KEPT_DAYS)
    }

    /// Where the day stands, or would. `None`: it is of another month.
    fn place(&self, day: u64) -> Option<Result<usize, usize>> {
        let is_in_month = first_of_month(day) == self.first_day;
        let after = is_in_month.then(|| self.after_first(day))?;
        Some(self.days.binary_search_by_key(&after, |(after, _)| *after))
    }

    fn after_first(&self, day: u64) -> u8 {
        u8::try_from(day - self.first_day).expect("a month has 31 days at most")
    }
}

fn first_of_month(day: u64) -> u64 {
    let date = UnixSecs::of_day(day).date();
    let (month, _) = date.rsplit_once('-').expect("a date has a day");
    UnixSecs::of_date(&format!("{month}-01")).map_or(day, UnixSecs::days)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Days around the end of a February of 29 days.
    fn day() -> impl Strategy<Value = u64> {
        let leap = UnixSecs::of_date("2028-02-01").unwrap().days();
        leap..leap + 29
    }

    fn tally() -> impl Strategy<Value = DayTally> {
        (0..5_u32, 0..5_u32).prop_map(|(requests, denied)| DayTally { requests, denied })
    }

    fn month() -> impl Strategy<Value = MonthUsage> {
        prop::collection::vec((day(), tally()), 0..6).prop_map(|days| {
            let mut month = MonthUsage::of_day(UnixSecs::of_date("2028-02-10").unwrap().days());
            for (day, tally) in days {
                month.raise(day, tally);
            }
            month
        })
    }

    proptest! {
        #[test]
        fn months_meet_in_any_order_and_tell_no_less(one in month(), other in month(), third in month(), day in day()) {
            prop_assert_eq!(one.meet(&other), other.meet(&one));
            prop_assert_eq!(one.meet(&other).meet(&third), one.meet(&other.meet(&third)));
            prop_assert_eq!(&one.meet(&one), &one);
            prop_assert_eq!(one.meet(&other).of(day), one.of(day).max(other.of(day)));
        }

        #[test]
        fn a_month_is_read_as_it_was_told(month in month()) {
            let again = MonthUsage::of_parts(month.first_day(), month.days().to_vec());
            prop_assert_eq!(again, Some(month));
        }
    }

    #[test]
    fn what_is_no_month_is_not_read() {
        let first = UnixSecs::of_date("2027-02-01").unwrap().days();
        let used = DayTally {
            requests: 1,
            denied: 0,
        };
        let days = |of: &[u8]| of.iter().map(|after| (*after, used)).collect::<Vec<_>>();
        assert!(MonthUsage::of_parts(first, days(&[0, 27])).is_some());
        for no in [&[28][..], &[255], &[1, 1], &[2, 1]] {
            assert_eq!(MonthUsage::of_parts(first, days(no)), None, "{no:?}");
        }
        assert_eq!(MonthUsage::of_parts(first + 1, Vec::new()), None);
        assert_eq!(MonthUsage::of_parts(u64::MAX, days(&[20])), None);
    }

    #[test]
    fn a_month_has_the_days_of_its_own_and_is_kept_for_longer_than_is_asked_for() {
        let day = UnixSecs::of_date("2026-11-21").unwrap().days();
        let mut month = MonthUsage::of_day(day);
        let used = DayTally {
            requests: 7,
            denied: 1,
        };
        assert!(month.raise(day, used));
        assert!(!month.raise(day, used), "it is known");
        assert!(!month.raise(day + 10, used), "the first of December");
        assert_eq!(month.of(day), used);
        assert_eq!(month.of(day + 31), DayTally::default());
        let tenant = TenantId::new([0; 10]);
        let name = MonthUsage::name(tenant, day);
        assert_eq!(name, format!("{tenant}/2026-11"));
        let last_asked_for = UnixSecs::of_date("2026-11-30").unwrap().days() + 399;
        assert!(UnixSecs::of_day(last_asked_for + 1) <= month.over_at());
    }
}
