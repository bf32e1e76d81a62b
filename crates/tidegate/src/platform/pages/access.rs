//! Who asks, and whether they may.
//!
//! Nobody has to sign in, and nothing can be changed, until there are tokens or a provider, or the settings say under which address people know the console. From then on each request needs a session:
//! a cookie that only we read, whose digest alone is kept, in memory and within a bound. A form that changes something brings along what only its own page has.

use std::time::Duration;

use ::console::access::{Entry, Role, TokenFile, TokenFileError};
use ::console::pages::access::{self as drawn, Ways};
use ::console::pages::{Page, Visitor, encoded};
use axum::extract::{Form, Query, Request, State};
use axum::http::header::{COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::{Asking, FETCH_SITE, HTML, Pages, Refused, show, shown};
use crate::settings::{self, Settings};

mod forms;
mod provider;
mod sessions;

pub(super) use forms::Change;
use forms::Own;
use provider::Provider;
use sessions::{Sessions, secret};

const SESSION_COOKIE: &str = "tidegate_session";
const SIGN_IN_COOKIE: &str = "tidegate_sign_in";
/// How long somebody may take with the provider.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// The longest address that somebody is led to after signing in.
const NEXT_CHARS_MAX: usize = 2_000;

/// How people are let in.
#[derive(Debug)]
pub(super) struct Access {
    tokens: TokenFile,
    provider: Option<Provider>,
    /// Where people know the console, if somewhere else than on this machine.
    public: Option<url::Url>,
    /// `https` where the console itself speaks TLS.
    scheme: &'static str,
    sessions: Sessions<Signed>,
    /// Those who are with the provider.
    coming: Sessions<provider::Coming>,
    session_timeout: Duration,
}

/// Somebody who signed in.
#[derive(Debug, Clone)]
struct Signed {
    name: String,
    role: Role,
    form_token: String,
    /// The token it was done with: the session ends with it.
    by: Option<Entry>,
}

impl Access {
    /// # Errors
    ///
    /// A secret that cannot be read.
    pub(super) fn new(settings: &Settings) -> anyhow::Result<Self> {
        let console = &settings.console;
        Ok(Self {
            tokens: settings.token_file(),
            provider: Provider::new(&console.oidc)?,
            public: console.public_url.as_deref().map(url::Url::parse).transpose()?,
            scheme: settings.server.scheme(),
            sessions: Sessions::default(),
            coming: Sessions::default(),
            session_timeout: console.session_timeout,
        })
    }

    /// Whether nobody has to sign in.
    fn is_open(&self) -> bool {
        self.provider.is_none() && self.public.is_none() && !self.tokens.path().exists()
    }

    /// Who asks.
    fn who(&self, headers: &HeaderMap) -> Result<Visitor, TokenFileError> {
        if self.is_open() {
            return Ok(Visitor::Open);
        }
        let Some(cookie) = cookie(headers, SESSION_COOKIE) else { return Ok(Visitor::Unknown) };
        let Some(Signed { name, role, form_token, by }) = self.sessions.get(cookie) else { return Ok(Visitor::Unknown) };
        if let Some(by) = by
            && !self.tokens.list()?.contains(&by)
        {
            self.sessions.remove(cookie);
            return Ok(Visitor::Unknown);
        }
        Ok(Visitor::Known { name, role, form_token })
    }

    /// Lets somebody in, and leads them on.
    fn let_in(&self, signed: Signed, next: &str) -> Response {
        tracing::info!(name = signed.name, role = signed.role.as_str(), "signed in to the console");
        let id = self.sessions.add(signed, self.session_timeout);
        let mut response = led_to(next);
        set_cookie(&mut response, &self.cookie(SESSION_COOKIE, &id, self.session_timeout));
        response
    }

    fn cookie(&self, name: &str, value: &str, lasts: Duration) -> String {
        let mut cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}", lasts.as_secs());
        if self.public.as_ref().map_or(self.scheme, url::Url::scheme) == "https" {
            cookie.push_str("; Secure");
        }
        cookie
    }

    /// Whether a host is where people know the console.
    pub(super) fn is_host(&self, host: &str) -> bool {
        let name = host.rsplit_once(':').filter(|(_, port)| port.chars().all(|c| c.is_ascii_digit())).map_or(host, |(name, _)| name);
        settings::is_loopback(name) || self.public.as_ref().is_some_and(|public| public.host_str() == Some(name))
    }

    fn ways(&self) -> Ways<'_> {
        Ways { token: true, provider: self.provider.as_ref().map(Provider::host) }
    }

    /// Where the provider sends people back to.
    fn return_url(&self, headers: &HeaderMap) -> String {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1");
        let here = || format!("{}://{host}", self.scheme);
        let base = self.public.as_ref().map_or_else(here, |public| public.as_str().trim_end_matches('/').to_owned());
        format!("{base}{}", drawn::RETURN_PATH)
    }
}

/// Lets those through who may, tells what is behind it who they are, and draws its page for them.
pub(super) async fn admit(State(pages): Asking, mut request: Request, next: Next) -> Response {
    let visitor = match pages.access.who(request.headers()) {
        Ok(visitor) => visitor,
        Err(error) => return drawn_for(&Visitor::Unknown, Refused::unavailable(error).into_response()),
    };
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads && !is_from_here(request.headers()) {
        let refused = Refused(StatusCode::FORBIDDEN, "A page of somebody else's changes nothing here.".to_owned());
        return drawn_for(&visitor, refused.into_response());
    }
    if visitor == Visitor::Unknown && !is_for_all(request.uri().path()) {
        let is_page =
            reads && request.headers().get("accept").is_none_or(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")));
        if is_page {
            let next = request.uri().path_and_query().map_or("/", |path| path.as_str());
            return led_to(&format!("{}?next={}", drawn::SIGN_IN_PATH, encoded(next)));
        }
        return (StatusCode::UNAUTHORIZED, shown("text/plain; charset=utf-8", "Sign in first.\n".to_owned())).into_response();
    }
    request.extensions_mut().insert(visitor.clone());
    drawn_for(&visitor, next.run(request).await)
}

fn drawn_for(visitor: &Visitor, mut response: Response) -> Response {
    match response.extensions_mut().remove::<Page>() {
        Some(page) => (response.status(), response.headers().clone(), shown(HTML, page.draw(visitor))).into_response(),
        None => response,
    }
}

fn is_for_all(path: &str) -> bool {
    let signing_in = [drawn::SIGN_IN_PATH, drawn::PROVIDER_PATH, drawn::RETURN_PATH];
    signing_in.contains(&path) || [::console::pages::STYLE_PATH, ::console::pages::SCRIPT_PATH].contains(&path)
}

/// Whether a page of ours, or no page at all, sends this. Browsers say where a form comes from (W3C Fetch Metadata, and `Origin` before it).
fn is_from_here(headers: &HeaderMap) -> bool {
    match (headers.get(FETCH_SITE), headers.get(ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => {
            let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            origin.is_some_and(|(_, host)| headers.get(HOST).is_some_and(|own| own == host))
        }
        (None, None) => true,
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Then {
    next: Option<String>,
}

pub(super) async fn page(State(pages): Asking, Query(Then { next }): Query<Then>) -> Response {
    show(drawn::page(pages.access.ways(), local(next.as_deref()), None))
}

#[derive(Debug, Deserialize)]
pub(super) struct Given {
    token: String,
    next: Option<String>,
}

pub(super) async fn sign_in(State(pages): Asking, Form(Given { token, next }): Form<Given>) -> Result<Response, Refused> {
    let access = &pages.access;
    let next = local(next.as_deref());
    match access.tokens.find(token.trim()).map_err(Refused::unavailable)? {
        Some(entry) => {
            let signed = Signed { name: entry.name.clone(), role: entry.role, form_token: secret(), by: Some(entry) };
            Ok(access.let_in(signed, next))
        }
        None => {
            tracing::warn!("a token was given to the console that is none");
            let page = drawn::page(access.ways(), next, Some("This is no token, or it has ended."));
            Ok((StatusCode::FORBIDDEN, show(page)).into_response())
        }
    }
}

pub(super) async fn sign_out(State(pages): Asking, headers: HeaderMap, _: Own) -> Response {
    if let Some(id) = cookie(&headers, SESSION_COOKIE) {
        pages.access.sessions.remove(id);
    }
    let mut response = led_to("/");
    set_cookie(&mut response, &pages.access.cookie(SESSION_COOKIE, "", Duration::ZERO));
    response
}

/// Sends somebody to the provider.
pub(super) async fn to_provider(State(pages): Asking, Query(Then { next }): Query<Then>, headers: HeaderMap) -> Result<Response, Refused> {
    let access = &pages.access;
    let Some(provider) = &access.provider else { return Err(no_provider()) };
    let begun = provider.begin(access.return_url(&headers), local(next.as_deref())).await;
    let (url, coming) = begun.map_err(|error| Refused::unavailable(format!("the provider cannot be asked: {error:#}")))?;
    let id = access.coming.add(coming, SIGN_IN_TIMEOUT);
    let mut response = led_to(&url);
    set_cookie(&mut response, &access.cookie(SIGN_IN_COOKIE, &id, SIGN_IN_TIMEOUT));
    Ok(response)
}

#[derive(Debug, Deserialize)]
pub(super) struct Returned {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
}

/// Takes somebody from the provider.
pub(super) async fn from_provider(
    State(pages): Asking,
    Query(Returned { code, state, error }): Query<Returned>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let access = &pages.access;
    let Some(provider) = &access.provider else { return Err(no_provider()) };
    let refuse = |why: &str| {
        tracing::warn!(why, "nobody was signed in to the console");
        Ok((StatusCode::FORBIDDEN, show(drawn::page(access.ways(), "/", Some(why)))).into_response())
    };
    // The browser that was sent there, once.
    let coming = cookie(&headers, SIGN_IN_COOKIE).and_then(|id| access.coming.remove(id));
    let Some(coming) = coming.filter(|coming| coming.is_of(state.as_deref())) else {
        return refuse("This is not the way back of a sign-in that was begun here. Begin again.");
    };
    let Some(code) = code else { return refuse(&format!("The provider let nobody in: {}", error.unwrap_or_default())) };
    let next = coming.next.clone();
    match provider.finish(coming, code).await {
        Ok(Some((name, role))) => {
            let mut response = access.let_in(Signed { name, role, form_token: secret(), by: None }, &next);
            set_cookie(&mut response, &access.cookie(SIGN_IN_COOKIE, "", Duration::ZERO));
            Ok(response)
        }
        Ok(None) => refuse("You are known to the provider, and may not read here: whoever runs this says who may (console.oidc.read)."),
        Err(error) => refuse(&format!("The provider's answer cannot be used: {error:#}")),
    }
}

fn no_provider() -> Refused {
    Refused(StatusCode::NOT_FOUND, "There is no provider to sign in with.".to_owned())
}

/// An address of ours; the overview in the place of any other, so that no link leads elsewhere by way of us.
fn local(next: Option<&str>) -> &str {
    let is_local = |next: &&str| {
        next.len() <= NEXT_CHARS_MAX
            && next.starts_with('/')
            && !next.starts_with("//")
            && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    next.filter(is_local).unwrap_or("/")
}

pub(super) fn led_to(place: &str) -> Response {
    let location = HeaderValue::from_str(place).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(LOCATION, location)], shown("text/plain; charset=utf-8", String::new())).into_response()
}

fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(COOKIE).into_iter().filter_map(|header| header.to_str().ok());
    all.flat_map(|header| header.split(';'))
        .find_map(|pair| pair.trim().split_once('=').filter(|(found, _)| *found == name).map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn forms_of_others_are_told_apart() {
        let check = |all: &[(&'static str, &'static str)], expect: bool| assert_eq!(is_from_here(&headers(all)), expect, "{all:?}");
        check(&[("sec-fetch-site", "same-origin"), ("origin", "null")], true);
        check(&[("sec-fetch-site", "cross-site")], false);
        check(&[("sec-fetch-site", "same-site")], false);
        check(&[("sec-fetch-site", "none")], false);
        check(&[("origin", "http://127.0.0.1:8097"), ("host", "127.0.0.1:8097")], true);
        check(&[("origin", "http://127.0.0.1:9999"), ("host", "127.0.0.1:8097")], false);
        check(&[("origin", "null"), ("host", "127.0.0.1:8097")], false);
        check(&[("host", "127.0.0.1:8097")], true);
    }

    #[test]
    fn nobody_is_led_elsewhere() {
        for (next, expect) in [
            ("/plan?a=b", "/plan?a=b"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("/a\nb", "/"),
            ("", "/"),
        ] {
            assert_eq!(local(Some(next)), expect, "{next}");
        }
        assert_eq!(local(None), "/");
    }

    #[test]
    fn cookies_are_read() {
        let found = headers(&[("cookie", "a=1; tidegate_session=x=y"), ("cookie", "b=2")]);
        assert_eq!((cookie(&found, SESSION_COOKIE), cookie(&found, "b"), cookie(&found, "c")), (Some("x=y"), Some("2"), None));
    }

    #[test]
    fn a_console_beyond_this_machine_asks_who_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings { data: folder.path().to_owned(), ..Settings::default() };
        let open = Access::new(&settings).unwrap();
        assert_eq!(open.who(&HeaderMap::new()).unwrap(), Visitor::Open);
        for (host, expect) in [
            ("127.0.0.1:8100", true),
            ("localhost", true),
            ("[::1]:8100", true),
            ("127.0.0.1.example.org:8100", false),
            ("tidegate.example.com", false),
        ] {
            assert_eq!(open.is_host(host), expect, "{host}");
        }
        let mut with_tls = settings.clone();
        with_tls.server.tls.certificate_file = Some("certificate.pem".into());
        let with_tls = Access::new(&with_tls).unwrap();
        assert_eq!(with_tls.return_url(&headers(&[("host", "127.0.0.1:8097")])), "https://127.0.0.1:8097/sign-in/return");
        assert!(with_tls.cookie("a", "b", Duration::ZERO).ends_with("; Secure"));
        settings.console.public_url = Some("https://tidegate.example.com/".to_owned());
        let public = Access::new(&settings).unwrap();
        assert_eq!(public.who(&HeaderMap::new()).unwrap(), Visitor::Unknown);
        assert!(public.is_host("tidegate.example.com") && !public.is_host("tidegate.example.com.evil.example"));
        assert!(public.cookie("a", "b", Duration::ZERO).ends_with("; Secure") && !open.cookie("a", "b", Duration::ZERO).contains("Secure"));
        assert_eq!(public.return_url(&HeaderMap::new()), "https://tidegate.example.com/sign-in/return");
        // What is damaged lets nobody in.
        std::fs::write(folder.path().join("tokens.json"), "{").unwrap();
        let id = public.sessions.add(
            Signed {
                name: "anna".to_owned(),
                role: Role::Admin,
                form_token: secret(),
                by: settings.token_file().list().ok().and_then(|all| all.first().cloned()),
            },
            SIGN_IN_TIMEOUT,
        );
        assert!(public.sessions.get(&id).is_some() && public.sessions.get("").is_none());
    }
}
