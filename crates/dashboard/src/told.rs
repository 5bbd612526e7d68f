//! What the API tells, as far as pages show it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::words::{grouped, minute, now, span};

/// Seconds of a day.
const DAY_SECS: u64 = 24 * 60 * 60;

/// A page of a list.
#[derive(Deserialize)]
pub(crate) struct Paged<T> {
    #[serde(alias = "limits")]
    pub(crate) items: Vec<T>,
    /// By what the next page is asked for. `None`: there is no more.
    #[serde(default = "Option::default")]
    pub(crate) next: Option<String>,
}

/// A tenant.
#[derive(Deserialize)]
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) plan: Plan,
    created_at: String,
}

impl Tenant {
    /// When it was made.
    pub(crate) fn made(&self) -> String {
        minute(&self.created_at)
    }
}

/// A plan, or what one leaves to a tenant. What is absent has no bound.
#[derive(Deserialize)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) requests_per_day: Option<u64>,
    pub(crate) per_second: Option<u64>,
    pub(crate) limits: Option<u64>,
    pub(crate) key_limits: Option<u64>,
    pub(crate) api_keys: Option<u64>,
    pub(crate) team: Option<u64>,
}

/// What a tenant has used.
#[derive(Deserialize)]
pub(crate) struct Usage {
    pub(crate) today: Today,
    pub(crate) days: Vec<Day>,
}

/// The day that is not over.
#[derive(Deserialize)]
pub(crate) struct Today {
    pub(crate) day: String,
    pub(crate) requests: u64,
    pub(crate) denied: u64,
    pub(crate) cap: Option<u64>,
    pub(crate) resets_at: String,
}

#[derive(Deserialize)]
pub(crate) struct Day {
    pub(crate) day: String,
    pub(crate) requests: u64,
    pub(crate) denied: u64,
}

impl Today {
    /// Of the cap, in thousandths. `None`: there is no cap.
    pub(crate) fn thousandths(&self) -> Option<u64> {
        let cap = self.cap?.max(1);
        Some((self.requests.saturating_mul(1_000) / cap).min(1_000))
    }

    /// Of the cap, in hundredths.
    pub(crate) fn percent(&self) -> u64 {
        self.thousandths().unwrap_or(0) / 10
    }

    pub(crate) fn used(&self) -> String {
        grouped(self.requests)
    }

    /// The cap. Empty: there is none.
    pub(crate) fn of(&self) -> String {
        self.cap.map_or_else(String::new, grouped)
    }

    pub(crate) fn turned_away(&self) -> String {
        grouped(self.denied)
    }

    /// How long until the next day begins, by this machine's clock.
    pub(crate) fn resets_in(&self) -> String {
        span(DAY_SECS - now().get() % DAY_SECS)
    }
}

/// A limit.
#[derive(Deserialize)]
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) algorithm: String,
    pub(crate) limit: u64,
    pub(crate) per: Option<String>,
    /// How windows of the calendar, and of `fixed_window`, begin.
    pub(crate) anchor: Option<String>,
    pub(crate) zone: Option<String>,
    pub(crate) burst: Option<u64>,
    pub(crate) strategy: String,
    pub(crate) on_failure: String,
    /// Whether its counts outlive all nodes. `None`: not a question for its strategy.
    pub(crate) keep: Option<bool>,
    /// Whether it is told which keys it denies most.
    #[serde(default)]
    pub(crate) top_keys: bool,
}

impl Limit {
    /// `10 in 1m`
    pub(crate) fn rate(&self) -> String {
        let units = grouped(self.limit);
        match (&self.per, &self.anchor, &self.zone) {
            (Some(per), ..) => format!("{units} in {per}"),
            (None, Some(anchor), Some(zone)) => format!("{units} in each {anchor} of {zone}"),
            _ => units,
        }
    }
}

/// The keys that a limit denies most.
#[derive(Deserialize)]
pub(crate) struct MostDenied {
    pub(crate) keys: Vec<TopKey>,
    /// Nodes that have told, of all.
    pub(crate) from: u64,
    pub(crate) of: u64,
}

/// What a limit has decided of one key that it denies.
#[derive(Deserialize)]
pub(crate) struct TopKey {
    pub(crate) key: String,
    allowed: u64,
    denied: u64,
    error: u64,
}

/// Characters of a key that are shown: one may have a KiB, and twenty of them would be a page of their own.
const SHOWN_MAX: usize = 80;

impl TopKey {
    /// What is shown of the key.
    pub(crate) fn shown(&self) -> String {
        match self.key.char_indices().nth(SHOWN_MAX) {
            Some((end, _)) => format!("{}…", &self.key[..end]),
            None => self.key.clone(),
        }
    }

    pub(crate) fn admitted(&self) -> String {
        grouped(self.allowed)
    }

    /// `1 200`, or where that may be too large the least and the most that it is.
    pub(crate) fn turned_away(&self) -> String {
        let most = grouped(self.denied);
        match self.error {
            0 => most,
            error => format!("{} to {most}", grouped(self.denied.saturating_sub(error))),
        }
    }
}

/// What limits have decided in a window.
#[derive(Deserialize)]
pub(crate) struct Series {
    /// By limit: allowed, denied. The busiest ones.
    limits: BTreeMap<String, [u64; 2]>,
    /// By the id of an API key: the same.
    api_keys: BTreeMap<String, [u64; 2]>,
    /// Nodes that have told, of all.
    from: u64,
    of: u64,
}

/// What one limit has decided in a window, or what was decided for one API key.
pub(crate) struct Decided {
    pub(crate) name: String,
    allowed: u64,
    denied: u64,
}

impl Series {
    /// Whether some node has not told.
    pub(crate) fn is_partial(&self) -> bool {
        self.from < self.of
    }

    /// What one limit has decided.
    pub(crate) fn of(&self, limit: &str) -> Option<Decided> {
        let [allowed, denied] = *self.limits.get(limit)?;
        Some(Decided {
            name: limit.to_owned(),
            allowed,
            denied,
        })
    }

    /// The busiest limits, the busiest first.
    pub(crate) fn busiest(&self) -> Vec<Decided> {
        busiest(&self.limits)
    }

    /// The busiest API keys, the busiest first.
    pub(crate) fn busiest_keys(&self) -> Vec<Decided> {
        busiest(&self.api_keys)
    }

    /// The five that have denied most.
    pub(crate) fn strictest(&self) -> Vec<Decided> {
        let mut all = by_name(&self.limits);
        all.retain(|of| 0 < of.denied);
        all.sort_by_key(|of| std::cmp::Reverse(of.denied));
        all.truncate(5);
        all
    }
}

fn by_name(totals: &BTreeMap<String, [u64; 2]>) -> Vec<Decided> {
    let decided = totals.iter().map(|(name, [allowed, denied])| Decided {
        name: name.clone(),
        allowed: *allowed,
        denied: *denied,
    });
    decided.collect()
}

fn busiest(totals: &BTreeMap<String, [u64; 2]>) -> Vec<Decided> {
    let mut all = by_name(totals);
    all.sort_by_key(|of| std::cmp::Reverse(of.allowed + of.denied));
    all
}

impl Decided {
    pub(crate) fn admitted(&self) -> String {
        grouped(self.allowed)
    }

    pub(crate) fn turned_away(&self) -> String {
        grouped(self.denied)
    }

    /// Of a hundred decisions. What was denied at all is no 0.
    pub(crate) fn percent_denied(&self) -> String {
        let all = (self.allowed + self.denied).max(1);
        match self.denied * 1_000 / all {
            0 if 0 < self.denied => "< 0.1 %".to_owned(),
            thousandths => format!("{}.{} %", thousandths / 10, thousandths % 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_in_so_many_letters_and_its_denials_within_their_bounds() {
        let of = |key: &str, error| TopKey {
            key: key.to_owned(),
            allowed: 0,
            denied: 1_200,
            error,
        };
        assert_eq!(of("<b>", 0).shown(), "<b>");
        assert_eq!(of("<b>", 0).turned_away(), grouped(1_200));
        let least = format!("{} to {}", grouped(900), grouped(1_200));
        assert_eq!(of("<b>", 300).turned_away(), least);
        let long = "ä".repeat(1_000);
        assert_eq!(of(&long, 0).shown(), format!("{}…", "ä".repeat(80)));
        assert_eq!(of(&long[..160], 0).shown(), "ä".repeat(80));
    }

    #[test]
    fn limits_are_told_by_what_they_denied() {
        let series = r#"{"limits":{"a":[10,0],"b":[1,9],"c":[3000,1],"d":[0,3]},"api_keys":{"key_a":[1,0],"key_b":[2,3]},"from":2,"of":3}"#;
        let series: Series = serde_json::from_str(series).unwrap();
        assert!(series.is_partial());
        let names = |of: Vec<Decided>| of.into_iter().map(|of| of.name).collect::<Vec<_>>();
        assert_eq!(names(series.strictest()), ["b", "d", "c"]);
        assert_eq!(names(series.busiest())[..2], ["c", "a"]);
        let percent = |name| series.of(name).unwrap().percent_denied();
        assert_eq!(
            ["a", "b", "c", "d"].map(percent),
            ["0.0 %", "90.0 %", "< 0.1 %", "100.0 %"]
        );
        assert!(series.of("e").is_none());
    }
}
