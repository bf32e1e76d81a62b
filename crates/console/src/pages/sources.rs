//! Sources and their write keys.

use maud::{Markup, html};

use super::{Page, Place, Visitor, encoded, form_field, grouped};

/// Where a form is sent that makes a key.
pub const ADD_PATH: &str = "/sources/add";
/// Where a form is sent that revokes the keys of a source.
pub const REVOKE_PATH: &str = "/sources/revoke";
/// Where a form is sent that makes a new key and lets those before end after a while.
pub const ROTATE_PATH: &str = "/sources/rotate";

/// A write key, without what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Key {
    /// Whose it is.
    pub source: String,
    /// The start of its digest.
    pub digest: String,
    /// When it was made.
    pub created_at: String,
    /// When it ended, or will end.
    pub revoked_at: Option<String>,
    /// Whether it has ended.
    pub ended: bool,
    /// The origins of web pages that may send with it; none: all may.
    pub origins: Vec<String>,
    /// The types of events that may be sent with it; none: all may.
    pub event_types: Vec<String>,
    /// Events a second, where it has a rate of its own.
    pub rate: Option<u32>,
    /// Whether requests with it must be signed.
    pub signed: bool,
}

/// What came from a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub source: String,
    /// Events accepted.
    pub accepted: u64,
    /// Events refused.
    pub refused: u64,
    /// Of those in Silver, late ones.
    pub late: u64,
}

/// What is shown of a new key, this once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The key.
    pub key: String,
    /// What requests with it are signed with, where they must be.
    pub secret: Option<String>,
}

/// What has just been done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// A key was made: the source, and the key.
    Added(String, Shown),
    /// A key was made, and those before end: the source, the key, and when they end.
    Rotated(String, Shown, String),
    /// So many keys of a source were revoked.
    Revoked(String, usize),
    /// Nothing, and why.
    Refused(String),
}

/// The page. `elsewhere`: why the keys are not known here.
pub fn page(keys: Result<&[Key], &str>, volumes: &[Volume], done: Option<&Done>, visitor: &Visitor) -> Page {
    let body = html! {
        h1 { "Sources" }
        p.about { "A source is who sends: a web site, an app, a service. Each has write keys of its own; of a key only a digest is kept." }
        @match done {
            Some(Done::Added(source, made)) => div.state.passed role="status" {
                span.sign aria-hidden="true" { "✓" } "This is the new key of " strong { (source) } ". It is shown this once."
                (new_key(made))
            },
            Some(Done::Rotated(source, made, until)) => div.state.passed role="status" {
                span.sign aria-hidden="true" { "✓" } "This is the new key of " strong { (source) } ". It is shown this once; those before are taken until " (until) "."
                (new_key(made))
            },
            Some(Done::Revoked(source, keys)) => p.state.passed role="status" {
                span.sign aria-hidden="true" { "✓" } "Revoked " (keys) @if *keys == 1 { " key" } @else { " keys" } " of " strong { (source) } ". Gates that run see it within a second."
            },
            Some(Done::Refused(why)) => p.state.failed role="alert" { span.sign aria-hidden="true" { "✕" } (why) },
            None => {},
        }
        @if let Some(token) = visitor.form_token() {
            form.filter method="post" action=(ADD_PATH) {
                (form_field(token))
                label { "Source" input type="text" name="source" required maxlength="100" size="16" autocomplete="off"; }
                label { "Origins of web pages that may send, separated by spaces; none: all" input type="text" name="origins" size="40" placeholder="https://www.example.com" autocomplete="off"; }
                label { "Types of events, separated by spaces; none: all" input type="text" name="event_types" size="30" placeholder="page_view checkout_*" autocomplete="off"; }
                label { "Events a second; none: as the settings have it" input type="number" name="rate" min="1" max="4294967295" autocomplete="off"; }
                label { input type="checkbox" name="signed" value="yes"; "Requests must be signed, by servers" }
                button type="submit" { "Make a key" }
            }
        }
        @match keys {
            Ok([]) => p { "There is none yet. " code { "tidegate source add NAME" } " makes a write key." },
            Ok(keys) => (table(keys, visitor)),
            Err(why) => p.state.warning role="status" { span.sign aria-hidden="true" { "!" } (why) },
        }
        @if !volumes.is_empty() { (sent(volumes)) }
    };
    Page::new(Some(Place::Sources), "Sources", body)
}

fn new_key(made: &Shown) -> Markup {
    html! {
        pre tabindex="0" { code #new-key { (made.key) } }
        @if let Some(secret) = &made.secret {
            p { "Requests with it must be signed with this secret, which is shown this once too:" }
            pre tabindex="0" { code #new-secret { (secret) } }
        }
    }
}

fn table(keys: &[Key], visitor: &Visitor) -> Markup {
    html! {
        h2 { "Write keys" }
        div.wide tabindex="0" role="region" aria-label="Write keys" {
            table {
                thead { tr { th scope="col" { "source" } th scope="col" { "key" } th scope="col" { "made" } th scope="col" { "ends" } th scope="col" { "origins" } th scope="col" { "types" } th.number scope="col" { "events a second" } th scope="col" { "signed" } @if visitor.form_token().is_some() { th scope="col" { span.hidden { "Change" } } } } }
                tbody {
                    @for key in keys {
                        tr {
                            th scope="row" { a href={ "/events?source=" (encoded(&key.source)) } { (key.source) } }
                            td { code { (key.digest) "…" } }
                            td { (key.created_at) }
                            td { (key.revoked_at.as_deref().unwrap_or("")) }
                            td { @if key.origins.is_empty() { "any" } @else { (key.origins.join(" ")) } }
                            td { @if key.event_types.is_empty() { "any" } @else { (key.event_types.join(" ")) } }
                            td.number { @if let Some(rate) = key.rate { (grouped(rate.into())) } }
                            td { @if key.signed { "yes" } }
                            @if let Some(token) = visitor.form_token() {
                                td { @if !key.ended {
                                    form method="post" action=(ROTATE_PATH) {
                                        (form_field(token)) input type="hidden" name="source" value=(key.source);
                                        button type="submit" aria-label={ "Rotate the keys of " (key.source) } { "Rotate" }
                                    }
                                    form method="post" action=(REVOKE_PATH) data-confirm={ "Revoke all keys of " (key.source) "? What sends with them is refused from then on." } {
                                        (form_field(token)) input type="hidden" name="source" value=(key.source);
                                        button type="submit" aria-label={ "Revoke all keys of " (key.source) } { "Revoke" }
                                    }
                                } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn sent(volumes: &[Volume]) -> Markup {
    html! {
        h2 { "What came" }
        div.wide tabindex="0" role="region" aria-label="Events by source" {
            table {
                thead { tr { th scope="col" { "source" } th.number scope="col" { "accepted" } th.number scope="col" { "refused" } th.number scope="col" { "late" } } }
                tbody {
                    @for volume in volumes {
                        tr data-source=(volume.source) {
                            th scope="row" { a href={ "/events?source=" (encoded(&volume.source)) } { (volume.source) } }
                            td.number data-count="accepted" { (grouped(volume.accepted)) }
                            td.number data-count="refused" { (grouped(volume.refused)) }
                            td.number { (grouped(volume.late)) }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Role;

    #[test]
    fn only_an_admin_is_offered_changes() {
        let keys = [Key { source: "we<b".to_owned(), digest: "0a1b2c3d".to_owned(), ..Key::default() }];
        let known = |role| Visitor::Known { name: "anna".to_owned(), role, form_token: "t1".to_owned() };
        for visitor in [Visitor::Open, known(Role::Read)] {
            let shown = page(Ok(&keys), &[], None, &visitor);
            assert!(shown.text().contains("we&lt;b") && !shown.text().contains("<form"), "{}", shown.text());
        }
        let made = |key: &str, secret: Option<&str>| Shown { key: key.to_owned(), secret: secret.map(str::to_owned) };
        let done = Done::Added("web".to_owned(), made("tg_1", None));
        let shown =
            page(Ok(&keys), &[Volume { source: "web".to_owned(), accepted: 1_200, ..Volume::default() }], Some(&done), &known(Role::Admin));
        let text = shown.text();
        assert!(text.contains("Make a key") && text.contains("Revoke") && text.contains("tg_1") && text.contains("1,200"), "{text}");
        assert!(text.contains(ROTATE_PATH) && text.contains(">any<") && !text.contains("new-secret"), "{text}");
        let ended = [Key { ended: true, event_types: vec!["a<b".to_owned()], rate: Some(5_000), ..keys[0].clone() }];
        let rotated = Done::Rotated("web".to_owned(), made("tg_2", Some("tgs_2")), "tomorrow".to_owned());
        let shown = page(Ok(&ended), &[], Some(&rotated), &known(Role::Admin));
        let text = shown.text();
        assert!(
            text.contains("a&lt;b")
                && text.contains("5,000")
                && text.contains("taken until tomorrow")
                && text.contains("tgs_2")
                && !text.contains(ROTATE_PATH),
            "{text}"
        );
        assert!(page(Err("no <file>"), &[], None, &Visitor::Open).text().contains("no &lt;file&gt;"));
    }
}
