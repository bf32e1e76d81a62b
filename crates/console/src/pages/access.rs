//! Signing in.

use maud::html;

use super::Page;

/// Where one signs in.
pub const SIGN_IN_PATH: &str = "/sign-in";
/// Where one signs out.
pub const SIGN_OUT_PATH: &str = "/sign-out";
/// Where one is sent on to the provider that knows the people here.
pub const PROVIDER_PATH: &str = "/sign-in/provider";
/// Where the provider sends them back to.
pub const RETURN_PATH: &str = "/sign-in/return";

/// How one can sign in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ways<'a> {
    /// With a token.
    pub token: bool,
    /// With the account that this provider knows.
    pub provider: Option<&'a str>,
}

/// The page; `next`: where it leads then, `problem`: why it came to nothing the last time.
pub fn page(ways: Ways<'_>, next: &str, problem: Option<&str>) -> Page {
    let body = html! {
        h1 { "Sign in" }
        @if let Some(problem) = problem { p.state.failed role="alert" { span.sign aria-hidden="true" { "✕" } (problem) } }
        @if let Some(provider) = ways.provider {
            p { a.button href={ (PROVIDER_PATH) "?next=" (super::encoded(next)) } { "Go on with " (provider) } }
        }
        @if ways.token {
            form.filter method="post" action=(SIGN_IN_PATH) {
                input type="hidden" name="next" value=(next);
                label { "Token" input type="password" name="token" required autocomplete="current-password" size="50" maxlength="200" autofocus[ways.provider.is_none()]; }
                button type="submit" { "Sign in" }
            }
            p.note { "A token is made by who runs this: " code { "tidegate token add NAME --role read" } ", or " code { "--role admin" } "." }
        }
    };
    Page::new(None, "Sign in", body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_there_are_are_offered() {
        let both = page(Ways { token: true, provider: Some("id.<example>") }, "/plan?a=b&c", Some("no"));
        let text = both.text();
        assert!(
            text.contains("id.&lt;example&gt;") && text.contains("next=%2Fplan%3Fa%3Db%26c") && text.contains("role=\"alert\""),
            "{text}"
        );
        assert!(text.contains("name=\"token\"") && text.contains("value=\"/plan?a=b&amp;c\""), "{text}");
        assert!(!page(Ways::default(), "/", None).text().contains("name=\"token\""));
    }
}
