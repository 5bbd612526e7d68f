//! What somebody could get wrong around a catalogue.

/// A bug of the driver that somebody could have written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum CatalogueBug {
    /// A change is answered before others have confirmed it.
    AnswersAtOnce,
    /// A receipt is given for what was not taken in.
    ConfirmsUnread,
    /// What was missed is never asked for.
    NeverAsks,
    /// A newcomer is ready before it has what the others have.
    ReadyTooSoon,
    /// A write is stamped by the wall clock alone, whatever its node has seen.
    WallClockAlone,
    /// Others are told of what is set, not of what is removed.
    RemovalsUntold,
    /// Of two writes that did not see each other the newer stays, of rights as of limits.
    NewerRightsStay,
    /// A record is told without the writes that it has seen.
    SeenUntold,
    /// A name is as old as the wall clock says, whatever name it replaces.
    NamesByWallClock,
    /// What others tell of an API key is taken in without its revocation.
    RevocationsUnread,
    /// A write takes the place of one that came after its author had read.
    WritesOverUnread,
    /// Of two numbers of what was used that did not see each other the newer stays.
    NewerUsageStays,
}

impl CatalogueBug {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::AnswersAtOnce,
        Self::ConfirmsUnread,
        Self::NeverAsks,
        Self::ReadyTooSoon,
        Self::WallClockAlone,
        Self::RemovalsUntold,
        Self::NewerRightsStay,
        Self::SeenUntold,
        Self::NamesByWallClock,
        Self::RevocationsUnread,
        Self::WritesOverUnread,
        Self::NewerUsageStays,
    ];

    /// The promise that must be seen broken.
    #[must_use]
    pub const fn must_break(self) -> &'static str {
        match self {
            Self::AnswersAtOnce | Self::ConfirmsUnread => "C1",
            Self::NeverAsks => "C2",
            Self::WallClockAlone | Self::SeenUntold | Self::NamesByWallClock => "C3",
            Self::ReadyTooSoon => "C4",
            Self::RemovalsUntold => "C5",
            Self::NewerRightsStay | Self::WritesOverUnread => "C6",
            Self::RevocationsUnread => "C7",
            Self::NewerUsageStays => "C8",
        }
    }
}
