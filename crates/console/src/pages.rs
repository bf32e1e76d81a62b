//! The pages of the console: facts in, HTML out. They are complete without a script; with it they keep themselves up to date.
//!
//! Every page has an address that says all that it shows, so that it can be sent to somebody else.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::access::Role;

pub mod access;
pub mod dead_letters;
pub mod events;
pub mod experiments;
pub mod explore;
pub mod jobs;
pub mod overview;
pub mod plan;
pub mod sources;
pub mod trace;

/// What all pages have in common with the report of an experiment in a file.
pub(crate) const PAGE_CSS: &str = include_str!("pages/page.css");
const CONSOLE_CSS: &str = include_str!("pages/console.css");

/// The style of the pages: served at [`STYLE_PATH`].
pub fn style() -> String {
    format!("{PAGE_CSS}{CONSOLE_CSS}")
}

/// The script of the pages: served at [`SCRIPT_PATH`].
pub const SCRIPT: &str = include_str!("pages/console.js");
/// Where the style is.
pub const STYLE_PATH: &str = "/console.css";
/// Where the script is.
pub const SCRIPT_PATH: &str = "/console.js";

/// The pages that one can go to, each with the key that leads there after `g`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The path with its books.
    Overview,
    /// Events as they come.
    Events,
    /// Statements and what they give.
    Explore,
    /// The tracking plan.
    Plan,
    /// What could not be taken.
    DeadLetters,
    /// Experiments.
    Experiments,
    /// Sources and their keys.
    Sources,
    /// Replays and other long work.
    Jobs,
}

impl Place {
    const ALL: [Self; 8] =
        [Self::Overview, Self::Events, Self::Explore, Self::Plan, Self::DeadLetters, Self::Experiments, Self::Sources, Self::Jobs];

    fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Events => "Live events",
            Self::Explore => "Explore",
            Self::Plan => "Tracking plan",
            Self::DeadLetters => "Dead letters",
            Self::Experiments => "Experiments",
            Self::Sources => "Sources",
            Self::Jobs => "Jobs",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Overview => "/",
            Self::Events => "/events",
            Self::Explore => "/explore",
            Self::Plan => "/plan",
            Self::DeadLetters => "/dead-letters",
            Self::Experiments => "/experiments",
            Self::Sources => "/sources",
            Self::Jobs => "/jobs",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Overview => "o",
            Self::Events => "e",
            Self::Explore => "s",
            Self::Plan => "p",
            Self::DeadLetters => "d",
            Self::Experiments => "x",
            Self::Sources => "k",
            Self::Jobs => "r",
        }
    }
}

/// A page, but for what depends on who looks at it.
#[derive(Debug, Clone)]
pub struct Page {
    place: Option<Place>,
    title: String,
    body: String,
}

/// Who looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Visitor {
    /// Anyone: nobody has to sign in here, and nothing can be changed.
    #[default]
    Open,
    /// Somebody who has yet to sign in.
    Unknown,
    /// Somebody who has.
    Known {
        /// Their name.
        name: String,
        /// What they may do.
        role: Role,
        /// What a form of theirs has to bring along, so that no page of somebody else's can send it for them.
        form_token: String,
    },
}

impl Visitor {
    /// What forms that change something bring along; nothing for those who may change nothing.
    pub fn form_token(&self) -> Option<&str> {
        match self {
            Self::Known { role: Role::Admin, form_token, .. } => Some(form_token),
            Self::Open | Self::Unknown | Self::Known { .. } => None,
        }
    }
}

impl Page {
    /// A page. `place` is marked as where one is.
    pub(crate) fn new(place: Option<Place>, title: &str, body: Markup) -> Self {
        Self { place, title: title.to_owned(), body: body.into_string() }
    }

    /// The whole document, as this visitor sees it.
    pub fn draw(&self, visitor: &Visitor) -> String {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    (head(&format!("{} · Tidegate", self.title)))
                    link rel="stylesheet" href=(STYLE_PATH);
                    link rel="icon" href="data:,";
                    script src=(SCRIPT_PATH) defer {}
                }
                body.console {
                    a.skip href="#content" { "Skip to the content" }
                    header.bar {
                        a.brand href="/" { "Tidegate" }
                        @if *visitor != Visitor::Unknown {
                            nav aria-label="Pages" {
                                @for page in Place::ALL {
                                    a href=(page.path()) data-key=(page.key()) aria-current=[(self.place == Some(page)).then_some("page")] { (page.name()) }
                                }
                            }
                        }
                        @if let Visitor::Known { name, role, form_token } = visitor {
                            form.visitor method="post" action=(access::SIGN_OUT_PATH) {
                                (form_field(form_token)) (name) span.role { (role.as_str()) } " " button type="submit" { "Sign out" }
                            }
                        }
                    }
                    main #content tabindex="-1" { (PreEscaped(&self.body)) }
                    @if *visitor != Visitor::Unknown {
                        footer {
                            p.note { "Keys: " kbd { "g" } " and then " @for page in Place::ALL { kbd { (page.key()) } " " (page.name()) ", " } kbd { "/" } " to search." }
                        }
                    }
                }
            }
        }
        .into_string()
    }
}

#[cfg(test)]
impl Page {
    /// What is on it.
    pub(crate) fn text(&self) -> &str {
        &self.body
    }
}

/// Words as a shell takes them.
pub fn shell(words: &[String]) -> String {
    let is_plain = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c));
    let quoted = words.iter().map(|word| match Some(word.as_str()).filter(is_plain) {
        Some(plain) => plain.to_owned(),
        None => format!("'{}'", word.replace('\'', r"'\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// What every document of ours begins with.
pub(crate) fn head(title: &str) -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        title { (title) }
    }
}

/// The name of the field that a form brings along.
pub const FORM_TOKEN: &str = "form_token";

/// That field.
pub(crate) fn form_field(token: &str) -> Markup {
    html! { input type="hidden" name=(FORM_TOKEN) value=(token); }
}

/// A page that says why there is no other.
pub fn refusal(title: &str, what: &str) -> Page {
    Page::new(None, title, html! { h1 { (title) } p role="alert" { (what) } })
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time between, in the unit that suits it.
pub(crate) fn duration(micros: i64) -> String {
    let seconds = micros.max(0) as f64 / 1e6;
    match seconds {
        ..0.001 => format!("{} µs", micros.max(0)),
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        ..120.0 => format!("{seconds:.1} s"),
        ..7_200.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} d", seconds / 86_400.0),
    }
}

/// A size in the unit that suits it.
pub(crate) fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// A text as a part of an address.
pub fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_for_people() {
        for (number, expect) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expect);
        }
        for (micros, expect) in [
            (-5, "0 µs"),
            (12, "12 µs"),
            (1_500, "2 ms"),
            (1_500_000, "1.5 s"),
            (600_000_000, "10 min"),
            (10_800_000_000, "3.0 h"),
            (864_000_000_000, "10.0 d"),
        ] {
            assert_eq!(duration(micros), expect, "{micros}");
        }
        for (bytes, expect) in [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 30, "5.0 GiB")] {
            assert_eq!(size(bytes), expect, "{bytes}");
        }
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        for (word, expect) in [("--conf", "--conf"), ("local[2]", "'local[2]'"), ("", "''"), ("it's", r"'it'\''s'")] {
            assert_eq!(shell(&[word.to_owned()]), expect);
        }
        assert_eq!(shell(&["a".to_owned(), "b c".to_owned()]), "a 'b c'");
    }

    #[test]
    fn a_page_is_drawn_for_whoever_looks() {
        let page = refusal("Gone", "It is gone.");
        let known = |role| Visitor::Known { name: "<anna>".to_owned(), role, form_token: "t1".to_owned() };
        let open = page.draw(&Visitor::Open);
        assert!(open.contains("href=\"/plan\"") && !open.contains("Sign out"), "{open}");
        let unknown = page.draw(&Visitor::Unknown);
        assert!(!unknown.contains("href=\"/plan\"") && unknown.contains("It is gone."), "{unknown}");
        let read = page.draw(&known(Role::Read));
        assert!(read.contains("&lt;anna&gt;") && read.contains("Sign out") && read.contains("value=\"t1\""), "{read}");
        assert_eq!((known(Role::Read).form_token(), known(Role::Admin).form_token()), (None, Some("t1")));
    }

    #[test]
    fn what_people_wrote_is_no_markup() {
        let page = refusal("<b>", "<script>alert(1)</script>").draw(&Visitor::Open);
        assert!(!page.contains("<b>") && !page.contains("<script>alert") && page.contains("&lt;script&gt;"));
        assert_eq!(encoded("a&b=c d/é"), "a%26b%3Dc+d%2F%C3%A9");
    }
}
