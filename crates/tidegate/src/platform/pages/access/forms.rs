//! Forms, which alone change something: each brings along what only its own page has.

use std::sync::Arc;

use ::console::access::Role;
use ::console::pages::{FORM_TOKEN, Visitor};
use axum::body::{Body, Bytes};
use axum::extract::{Form, FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Pages, Refused};

const FORM_CONTENT: &str = "application/x-www-form-urlencoded";

/// A form without fields of its own.
#[derive(Debug, Deserialize)]
struct Nothing {}

/// A form of somebody who has signed in, from a page that was drawn for them.
#[derive(Debug)]
pub(in crate::platform::pages) struct Own;

/// A form of an admin, that changes something.
#[derive(Debug)]
pub(in crate::platform::pages) struct Change<T> {
    pub(in crate::platform::pages) asked: T,
    pub(in crate::platform::pages) visitor: Visitor,
    /// Who changes it.
    pub(in crate::platform::pages) by: String,
}

impl FromRequest<Arc<Pages>> for Own {
    type Rejection = Refused;

    async fn from_request(request: Request, pages: &Arc<Pages>) -> Result<Self, Refused> {
        form::<Nothing>(request, pages, Role::Read).await?;
        Ok(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<Pages>> for Change<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, pages: &Arc<Pages>) -> Result<Self, Refused> {
        form(request, pages, Role::Admin).await
    }
}

async fn form<T: DeserializeOwned>(request: Request, pages: &Arc<Pages>, least: Role) -> Result<Change<T>, Refused> {
    let forbidden = |what: &str| Refused(StatusCode::FORBIDDEN, what.to_owned());
    let visitor = request.extensions().get::<Visitor>().cloned().unwrap_or_default();
    let Visitor::Known { name, role, form_token } = visitor.clone() else {
        return Err(forbidden("Nothing can be changed here without signing in: `tidegate token add NAME --role admin` makes a token."));
    };
    if role < least {
        return Err(forbidden("You may read here; changes are for admins."));
    }
    let bad = |error: String| Refused(StatusCode::BAD_REQUEST, format!("The form cannot be read: {error}"));
    let body = Bytes::from_request(request, pages).await.map_err(|error| bad(error.to_string()))?;
    let brought = url::form_urlencoded::parse(&body).find(|(name, _)| name == FORM_TOKEN).map(|(_, value)| value.into_owned());
    if !brought.is_some_and(|brought| blake3::hash(brought.as_bytes()) == blake3::hash(form_token.as_bytes())) {
        return Err(forbidden("This form is of another session. Go back, load the page again, and repeat it."));
    }
    let again = Request::builder().method(Method::POST).header(CONTENT_TYPE, FORM_CONTENT).body(Body::from(body));
    let again = again.map_err(|error| bad(error.to_string()))?;
    let Form(asked) = Form::<T>::from_request(again, pages).await.map_err(|error| bad(error.to_string()))?;
    Ok(Change { asked, visitor, by: name })
}
