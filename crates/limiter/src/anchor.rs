//! Where windows begin, as people write it.

use quota::{Anchor, Calendar, CalendarUnit, Zone};

/// A word for where windows begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnchorWord {
    /// At the epoch.
    Epoch,
    /// At the first hit.
    FirstHit,
    /// With days, weeks, months or years of a zone's calendar, which say how long windows are.
    Unit(CalendarUnit),
}

impl AnchorWord {
    /// Every word.
    pub const ALL: [Self; 6] = [
        Self::Epoch,
        Self::FirstHit,
        Self::Unit(CalendarUnit::Day),
        Self::Unit(CalendarUnit::Week),
        Self::Unit(CalendarUnit::Month),
        Self::Unit(CalendarUnit::Year),
    ];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::FirstHit => "first_hit",
            Self::Unit(unit) => unit.name(),
        }
    }

    /// The word that is written so.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|word| word.name() == name)
    }

    /// The anchor, with a calendar's in `zone`.
    #[must_use]
    pub const fn anchor(self, zone: Zone) -> Anchor {
        match self {
            Self::Epoch => Anchor::Epoch,
            Self::FirstHit => Anchor::FirstHit,
            Self::Unit(unit) => Anchor::Calendar(Calendar { unit, zone }),
        }
    }

    /// The word for the anchor of a limit that people wrote, and the zone of a calendar's.
    #[must_use]
    pub const fn of(anchor: Anchor) -> (Self, Option<Zone>) {
        match anchor {
            Anchor::FirstHit => (Self::FirstHit, None),
            Anchor::Calendar(calendar) => (Self::Unit(calendar.unit), Some(calendar.zone)),
            // What ends at an instant is made of a calendar, and by nobody who writes it down.
            Anchor::Epoch | Anchor::Ending(_) => (Self::Epoch, None),
        }
    }
}

/// Where neither is given.
pub const ZONELESS: &str =
    "none, zone goes with the anchors day, week, month and year of fixed_window";

/// Where a calendar says how long a window is.
pub const PERIODLESS: &str =
    "none, windows of the anchors day, week, month and year are as long as the calendar says";

/// What is accepted in place of a name that is no zone's: with the one that is nearest to it.
#[must_use]
pub fn zone_accepted(given: &str) -> String {
    let mut accepted = format!(
        "a name of the IANA time zone database ({}) as it is written there, such as \"Europe/Vienna\"",
        Zone::DATABASE
    );
    if let Some(nearest) = nearest(given) {
        accepted.push_str(&format!("; the nearest is {nearest:?}"));
    }
    accepted
}

/// The zone whose name, or whose city's, is most like this.
fn nearest(given: &str) -> Option<&'static str> {
    /// Below it names have little more than letters in common.
    const LIKENESS_MIN: f64 = 0.6;

    /// Longer than any name. What a likeness costs grows with the length of both.
    const GIVEN_MAX: usize = 64;

    if GIVEN_MAX < given.len() {
        return None;
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace(' ', "_");
    let given = plain(given);
    let likeness = |name: &str| {
        let name = plain(name);
        let city = name.rsplit('/').next().unwrap_or_default();
        let of_city = strsim::normalized_damerau_levenshtein(city, &given);
        of_city.max(strsim::normalized_damerau_levenshtein(&name, &given))
    };
    let best = Zone::names()
        .map(|name| (likeness(name), name))
        .max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (LIKENESS_MIN <= best.0).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written() {
        let zone = "Europe/Vienna".parse().unwrap();
        for word in AnchorWord::ALL {
            assert_eq!(AnchorWord::named(word.name()), Some(word));
            let (told, of) = AnchorWord::of(word.anchor(zone));
            assert_eq!(told, word);
            assert_eq!(of.is_some(), matches!(word, AnchorWord::Unit(_)));
        }
        assert_eq!(AnchorWord::named("noon"), None);
    }

    #[test]
    fn the_nearest_zone_is_told() {
        for (given, expected) in [
            ("europe/vienna", "Europe/Vienna"),
            ("Europe/Viena", "Europe/Vienna"),
            ("Vienna", "Europe/Vienna"),
            ("New York", "America/New_York"),
            ("utc", "UTC"),
        ] {
            assert_eq!(nearest(given), Some(expected), "{given}");
        }
        assert_eq!(nearest("the moon"), None);
        assert_eq!(nearest(&"Europe/".repeat(1_000)), None);
        assert!(zone_accepted("Viena").ends_with("the nearest is \"Europe/Vienna\""));
    }
}
