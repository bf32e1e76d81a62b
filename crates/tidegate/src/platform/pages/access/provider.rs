//! Signing in with the account that a provider knows: OpenID Connect, the authorization code flow with PKCE (RFC 7636).

use std::time::Duration;

use ::console::access::Role;
use anyhow::{Context as _, bail};
use axum::http::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{
    AuthorizationCode, ClientId, ClientSecret, CsrfToken, HttpRequest, HttpResponse, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, Scope, TokenResponse as _,
};
use serde_json::Value;

use crate::settings::Oidc;

/// How long the provider may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes that are read of an answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Characters of a name that are kept.
const NAME_CHARS_MAX: usize = 100;

/// The provider.
#[derive(Debug)]
pub(super) struct Provider {
    issuer: IssuerUrl,
    host: String,
    client_id: ClientId,
    secret: Option<ClientSecret>,
    name_claim: String,
    role_claim: String,
    admin: Vec<String>,
    read: Vec<String>,
    http: reqwest::Client,
}

/// Somebody who was sent there.
#[derive(Debug)]
pub(super) struct Coming {
    state: CsrfToken,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    redirect: RedirectUrl,
    /// Where they are led to then.
    pub(super) next: String,
}

impl Coming {
    /// Whether this is what they were sent there with.
    pub(super) fn is_of(&self, state: Option<&str>) -> bool {
        state.is_some_and(|state| blake3::hash(state.as_bytes()) == blake3::hash(self.state.secret().as_bytes()))
    }
}

impl Provider {
    /// The provider of the settings, if they name one.
    ///
    /// # Errors
    ///
    /// A secret that cannot be read.
    pub(super) fn new(settings: &Oidc) -> anyhow::Result<Option<Self>> {
        let (Some(issuer), Some(client_id)) = (&settings.issuer, &settings.client_id) else { return Ok(None) };
        let secret = settings.client_secret_file.as_ref().map(|path| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read the secret of the console's provider, {}", path.display()))
        });
        let secret = secret.transpose()?.map(|text| ClientSecret::new(text.trim().to_owned()));
        // Whoever the provider names is asked, and nobody whom those send on to.
        let http = reqwest::Client::builder().timeout(ANSWER_TIMEOUT).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Some(Self {
            host: url::Url::parse(issuer)?.host_str().unwrap_or_default().to_owned(),
            issuer: IssuerUrl::new(issuer.clone())?,
            client_id: ClientId::new(client_id.clone()),
            secret,
            name_claim: settings.name_claim.clone(),
            role_claim: settings.role_claim.clone(),
            admin: settings.admin.clone(),
            read: settings.read.clone(),
            http,
        }))
    }

    /// What people know it by.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Where somebody is sent, and what has to be known when they come back.
    ///
    /// # Errors
    ///
    /// A provider that does not answer, or that is none.
    pub(super) async fn begin(&self, redirect: String, next: &str) -> anyhow::Result<(String, Coming)> {
        let redirect = RedirectUrl::new(redirect)?;
        let metadata = self.metadata().await?;
        let client =
            CoreClient::from_provider_metadata(metadata, self.client_id.clone(), self.secret.clone()).set_redirect_uri(redirect.clone());
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let asked = client.authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random);
        let asked = ["profile", "email"].into_iter().fold(asked, |asked, scope| asked.add_scope(Scope::new(scope.to_owned())));
        let (url, state, nonce) = asked.set_pkce_challenge(challenge).url();
        Ok((url.into(), Coming { state, nonce, verifier, redirect, next: next.to_owned() }))
    }

    /// Who came back, and what they may do; nothing for somebody who may not read.
    ///
    /// # Errors
    ///
    /// A provider that does not answer, and what it says that does not hold: signature, audience, time, nonce.
    pub(super) async fn finish(&self, coming: Coming, code: String) -> anyhow::Result<Option<(String, Role)>> {
        let Coming { nonce, verifier, redirect, .. } = coming;
        let metadata = self.metadata().await?;
        let client = CoreClient::from_provider_metadata(metadata, self.client_id.clone(), self.secret.clone()).set_redirect_uri(redirect);
        let http = |request| ask(self.http.clone(), request);
        let exchanged = client.exchange_code(AuthorizationCode::new(code))?.set_pkce_verifier(verifier).request_async(&http).await;
        let answer = exchanged.context("it gave no token for the code")?;
        let id_token = answer.id_token().context("there is no ID token in it")?;
        id_token.claims(&client.id_token_verifier(), &nonce).context("the ID token does not hold")?;
        // What was verified, with the claims that are this provider's own.
        let text = id_token.to_string();
        let claims = text.split('.').nth(1).context("the ID token has no claims")?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
        let name = [&self.name_claim, "sub"].into_iter().find_map(|claim| claims.get(claim)?.as_str()).unwrap_or_default();
        if name.is_empty() {
            bail!("nobody is named in it, neither by {} nor by sub", self.name_claim);
        }
        let name = name.chars().take(NAME_CHARS_MAX).collect();
        Ok(role(claims.get(&self.role_claim), &self.admin, &self.read).map(|role| (name, role)))
    }

    async fn metadata(&self) -> anyhow::Result<CoreProviderMetadata> {
        let http = |request| ask(self.http.clone(), request);
        CoreProviderMetadata::discover_async(self.issuer.clone(), &http)
            .await
            .with_context(|| format!("{} does not say how", self.issuer.as_str()))
    }
}

/// What somebody of these groups may do.
fn role(groups: Option<&Value>, admin: &[String], read: &[String]) -> Option<Role> {
    let groups: Vec<&str> = match groups {
        Some(Value::String(group)) => vec![group],
        Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is_in = |wanted: &[String]| wanted.iter().any(|wanted| groups.contains(&wanted.as_str()));
    if is_in(admin) {
        return Some(Role::Admin);
    }
    (read.is_empty() || is_in(read)).then_some(Role::Read)
}

/// Why the provider cannot be asked.
#[derive(Debug, thiserror::Error)]
enum Unasked {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    Answer(#[from] axum::http::Error),
    #[error("its answer has more than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
}

async fn ask(http: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, Unasked> {
    let (parts, body) = request.into_parts();
    let mut answer = http.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body).send().await?;
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(Unasked::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
    Ok(response.body(body)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn groups_say_what_somebody_may_do() {
        let check = |groups: Value, admin: &[&str], read: &[&str], expect: Option<Role>| {
            let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
            assert_eq!(role(Some(&groups), &owned(admin), &owned(read)), expect, "{groups} {admin:?} {read:?}");
        };
        check(json!(["staff", "platform"]), &["platform"], &[], Some(Role::Admin));
        check(json!("platform"), &["platform"], &["staff"], Some(Role::Admin));
        check(json!(["staff"]), &["platform"], &[], Some(Role::Read));
        check(json!(["staff"]), &["platform"], &["analysts"], None);
        check(json!(["analysts"]), &[], &["analysts"], Some(Role::Read));
        check(json!({"platform": true}), &["platform"], &["platform"], None);
        assert_eq!(role(None, &["platform".to_owned()], &[]), Some(Role::Read));
    }
}
