//! What goes wrong on purpose, and what the platform is to make of it.

use super::random::Random;

/// Of a million sound events, how many are sent again later.
pub(crate) const COPIES_PER_MILLION: u64 = 50_000;
/// Of a million sound events, how many are sent hours or days after they happened.
pub(crate) const LATE_PER_MILLION: u64 = 20_000;
/// To a million sound events, how many that are not sound.
pub(crate) const INVALID_PER_MILLION: u64 = 10_000;

/// In which way an event is not sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flaw {
    /// The type is left out.
    NoType,
    /// The time is a phrase.
    UnreadableTime,
    /// The line breaks off.
    BrokenJson,
    /// A purchase whose value is a text.
    ValueIsText,
    /// An exposure that does not say to what.
    NoVariation,
}

/// Who finds a flaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Found {
    /// The gate, which refuses the event.
    Refused,
    /// The tracking plan: the event is taken and kept as a dead letter.
    Quarantined,
}

impl Flaw {
    /// A flaw for an event. A line can only break off by itself where lines are sent, so `by_line` says whether that is one of them.
    pub(crate) fn draw(random: &mut Random, by_line: bool) -> Self {
        const ALL: [Flaw; 5] = [Flaw::NoType, Flaw::UnreadableTime, Flaw::ValueIsText, Flaw::NoVariation, Flaw::BrokenJson];
        let [first_four @ .., _] = &ALL;
        *random.pick(if by_line { &ALL } else { first_four })
    }

    /// The word under which it is found, and by whom.
    pub(crate) fn verdict(self) -> (Found, &'static str) {
        match self {
            Self::NoType => (Found::Refused, "missing_field"),
            Self::UnreadableTime => (Found::Refused, "invalid_time"),
            Self::BrokenJson => (Found::Refused, "invalid_json"),
            Self::ValueIsText => (Found::Quarantined, "wrong_type"),
            Self::NoVariation => (Found::Quarantined, "missing_property"),
        }
    }
}
