//! The one event that every wire format becomes.

use std::borrow::Cow;

use serde::Serialize;

use crate::json::Object;
use crate::{EventId, Timestamp};

/// An event as a client meant it, whatever wire format it came in, with the texts of `'a` that it was read from. What the gate or the journal know about it is in its
/// [`crate::Receipt`].
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Event<'a> {
    /// The client's id; `None` where it sent none.
    pub event_id: Option<EventId>,
    /// `page_view`, `feature_exposure`, `conversion`, `identify`, or another type (of the tracking plan).
    pub event_type: Cow<'a, str>,
    /// What the client called it: a page's or screen's name, a track call's event name.
    pub name: Option<Cow<'a, str>>,
    /// When it happened, by the client's own clock.
    pub client_time: Option<Timestamp>,
    /// When it was sent, by the client's own clock.
    pub sent_at: Option<Timestamp>,
    /// The known user.
    pub user_id: Option<Cow<'a, str>>,
    /// The device or browser, before it is known whose.
    pub anonymous_id: Option<Cow<'a, str>>,
    /// The session, where the client keeps one.
    pub session_id: Option<Cow<'a, str>>,
    /// Properties, or traits for calls about a user or group.
    pub properties: Object<'a>,
    /// The circumstances: page, campaign, device, library and so on, in the layout of Segment's common fields.
    pub context: Object<'a>,
}
