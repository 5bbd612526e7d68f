//! `per`, `anchor` and `zone` of a `[[limit]]`: how long windows are, and where they begin.

use limiter::{AnchorWord, PERIODLESS, ZONELESS, zone_accepted};
use quota::{Anchor, Nanos, Zone};

use super::problem::{Given, Problems};
use super::span;
use super::table::Table;

/// What a limit says of its windows.
pub(super) struct Windows {
    /// `None`: none is given, or none that can be.
    pub(super) per: Option<Given<Nanos>>,
    /// `None`: none is given, or none that can be.
    pub(super) anchor: Option<Given<Anchor>>,
    /// Whether what is given can be, and goes together.
    pub(super) fit: bool,
}

/// Reads the three keys.
pub(super) fn read(table: &mut Table<'_>, problems: &mut Problems) -> Windows {
    let before = problems.count();
    let per = table.string("per", problems);
    let word = table.string("anchor", problems).and_then(|given| {
        let words = AnchorWord::ALL.map(|word| (word.name(), word));
        let word = problems.choose(&given, &words)?;
        Some((word, given.place))
    });
    // What was meant by an anchor that is none says nothing about the other two.
    let is_unclear = word.is_none() && table.has("anchor");
    let unit = word.as_ref().and_then(|(word, _)| match word {
        AnchorWord::Unit(unit) => Some(unit.longest()),
        AnchorWord::Epoch | AnchorWord::FirstHit => None,
    });
    let zone = read_zone(table, is_unclear || unit.is_some(), problems);
    let per = match (unit, per) {
        (Some(longest), per) => {
            if let Some(per) = per {
                problems.bad_value(&per, PERIODLESS);
            }
            Some(Given {
                value: longest,
                place: table.place(),
            })
        }
        (None, Some(given)) => {
            let per = problems.parse(&given, span::ACCEPTED, span::parse);
            per.map(|per| Given {
                value: Nanos::from(per),
                place: given.place,
            })
        }
        (None, None) => {
            if !is_unclear {
                table.missing("per", span::ACCEPTED, problems);
            }
            None
        }
    };
    let anchor = word.map(|(word, place)| Given {
        value: word.anchor(zone.unwrap_or_else(Zone::utc)),
        place,
    });
    Windows {
        per,
        anchor,
        fit: problems.count() == before,
    }
}

/// The zone of a calendar. `None`: none is given, or none that can be.
fn read_zone(table: &mut Table<'_>, by_calendar: bool, problems: &mut Problems) -> Option<Zone> {
    let given = table.string("zone", problems)?;
    if !by_calendar {
        problems.bad_value(&given, ZONELESS);
        return None;
    }
    let accepted = zone_accepted(&given.value);
    problems.parse(&given, &accepted, |name| name.parse().ok())
}
