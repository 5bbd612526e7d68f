//! How far back a picture goes, and how fine it is.

/// How far back a picture goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Window {
    /// By the second.
    TenMinutes,
    /// By the minute.
    Hour,
    /// By the minute.
    Day,
    /// By the hour.
    FiveWeeks,
}

impl Window {
    /// All of them, the shortest first.
    pub const ALL: [Self; 4] = [Self::TenMinutes, Self::Hour, Self::Day, Self::FiveWeeks];

    /// Its name, which is stable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TenMinutes => "10m",
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::FiveWeeks => "35d",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|window| window.name() == name)
    }

    /// Seconds from a point to the next.
    #[must_use]
    pub const fn step(self) -> u32 {
        match self {
            Self::TenMinutes => 1,
            Self::Hour | Self::Day => 60,
            Self::FiveWeeks => 60 * 60,
        }
    }

    /// Seconds that it goes back.
    #[must_use]
    pub const fn span(self) -> u32 {
        match self {
            Self::TenMinutes => 10 * 60,
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
            Self::FiveWeeks => 35 * 24 * 60 * 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_known_by_its_name_and_by_no_other() {
        for window in Window::ALL {
            assert_eq!(Window::of(window.name()), Some(window));
            assert_eq!(window.span() % window.step(), 0);
        }
        for name in ["", "10", "10M", "5m", "1h "] {
            assert_eq!(Window::of(name), None, "{name:?}");
        }
    }
}
