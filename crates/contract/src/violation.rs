//! One thing that is wrong with one event.

pub use rules::Violation;
pub(crate) use rules::pointer_token;

/// A violation that was found in a part of the event, placed in the event.
pub(crate) fn below(part: &str, mut violation: Violation) -> Violation {
    violation.field.insert_str(0, part);
    violation
}
