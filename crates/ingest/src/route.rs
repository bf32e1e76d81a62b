//! The paths that events come in on.

/// What a path says of the events sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Route {
    /// The native shape, or CloudEvents.
    Events,
    /// A batch in Segment's shape.
    Batch,
    /// One call in Segment's shape.
    Call(Call),
    /// One call in Segment's shape, as base64 in the address.
    PixelData(Call),
    /// One call in Segment's shape, its fields as parameters of the address.
    PixelQuery(Call),
}

/// A call of Segment's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Identify,
    Track,
    Page,
    Screen,
    Group,
    Alias,
}

/// The paths for `POST`.
pub(crate) const POSTS: [(&str, Route); 17] = [
    ("/v1/events", Route::Events),
    ("/v1/batch", Route::Batch),
    ("/v1/b", Route::Batch),
    ("/v1/import", Route::Batch),
    ("/beacon/v1/batch", Route::Batch),
    ("/v1/identify", Route::Call(Call::Identify)),
    ("/v1/i", Route::Call(Call::Identify)),
    ("/v1/track", Route::Call(Call::Track)),
    ("/v1/t", Route::Call(Call::Track)),
    ("/v1/page", Route::Call(Call::Page)),
    ("/v1/p", Route::Call(Call::Page)),
    ("/v1/screen", Route::Call(Call::Screen)),
    ("/v1/s", Route::Call(Call::Screen)),
    ("/v1/group", Route::Call(Call::Group)),
    ("/v1/g", Route::Call(Call::Group)),
    ("/v1/alias", Route::Call(Call::Alias)),
    ("/v1/a", Route::Call(Call::Alias)),
];

/// The paths of pixels, for `GET`.
pub(crate) const PIXELS: [(&str, Route); 8] = [
    ("/pixel/v1/track", Route::PixelQuery(Call::Track)),
    ("/pixel/v1/page", Route::PixelQuery(Call::Page)),
    ("/v1/pixel/identify", Route::PixelData(Call::Identify)),
    ("/v1/pixel/track", Route::PixelData(Call::Track)),
    ("/v1/pixel/page", Route::PixelData(Call::Page)),
    ("/v1/pixel/screen", Route::PixelData(Call::Screen)),
    ("/v1/pixel/group", Route::PixelData(Call::Group)),
    ("/v1/pixel/alias", Route::PixelData(Call::Alias)),
];

impl Route {
    /// Whether the write key may stand in the body.
    pub(crate) fn body_has_key(self) -> bool {
        match self {
            Self::Events | Self::PixelQuery(_) => false,
            Self::Batch | Self::Call(_) | Self::PixelData(_) => true,
        }
    }

    /// The name for metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Batch => "batch",
            Self::Call(_) => "call",
            Self::PixelData(_) | Self::PixelQuery(_) => "pixel",
        }
    }
}

impl Call {
    /// The `type` of the call.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Track => "track",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }
}
