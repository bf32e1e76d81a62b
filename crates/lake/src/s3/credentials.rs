//! Keys: where they come from, and new ones before the old ones expire.
//!
//! Keys in the environment are used as they are. All other ways (profiles, single sign-on, a process that hands out keys, web identity, the roles of
//! containers and machines) are those of AWS's own library. No key is ever logged: what holds one does not print it.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use aws_config::meta::region::ProvideRegion as _;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use deltalake::logstore::object_store::{Error as StoreError, Result as StoreResult};
use object_store::aws::{AwsCredential, AwsCredentialProvider};
use object_store::{CredentialProvider, StaticCredentialProvider};
use tokio::sync::Mutex;

use super::options::S3Options;
use crate::commit::now_millis;
use crate::environment::Environment;
use crate::error::Error;

/// Keys are asked for anew so long before they expire: longer than the retries of one request, which are signed once.
const EARLY_MILLIS: i64 = 5 * 60 * 1000;
/// After asking failed, keys that are still good are used so long before it is tried again.
const PAUSE_MILLIS: i64 = 10 * 1000;
const WAYS: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; or AWS_PROFILE, for a profile in the files of the AWS tools; or \
                    AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN; or run where the container or the machine has a role";

/// The region of the profile, where no variable and no setting names one.
pub(super) async fn region_of_profile(options: &S3Options) -> Option<String> {
    let mut provider = ProfileFileRegionProvider::builder();
    if let Some(profile) = &options.profile {
        provider = provider.profile_name(profile);
    }
    provider.build().region().await.map(|region| region.to_string())
}

/// Finds keys, and whoever gives new ones later.
///
/// # Errors
/// `Fatal` when there are none; `Retry` when whoever has them did not answer.
pub(super) async fn find(options: &S3Options, environment: &Environment, region: &str) -> Result<AwsCredentialProvider, Error> {
    if options.profile.is_none()
        && let Some(keys) = of_environment(environment)?
    {
        return Ok(Arc::new(StaticCredentialProvider::new(keys)));
    }
    let config = load(options, region).await;
    let source = config.credentials_provider().ok_or_else(|| Error::Setting(format!("there are no keys for S3: {WAYS}")))?;
    let renewed = Renewed::new(source);
    match renewed.ask(now_millis()).await {
        Ok(_) => Ok(Arc::new(renewed)),
        Err(error @ (CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_))) => {
            Err(Error::Setting(format!("there are no keys for S3: {WAYS} ({})", causes(&error))))
        }
        Err(error) => Err(Error::store("get keys for S3", causes(&error))),
    }
}

fn of_environment(environment: &Environment) -> Result<Option<AwsCredential>, Error> {
    let get = |name: &str| environment.first(&[name]).map(str::to_owned);
    match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
        (Some(key_id), Some(secret_key)) => Ok(Some(AwsCredential { key_id, secret_key, token: get("AWS_SESSION_TOKEN") })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(Error::Setting("AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not: set both or neither".to_owned())),
        (None, Some(_)) => Err(Error::Setting("AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not: set both or neither".to_owned())),
    }
}

async fn load(options: &S3Options, region: &str) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(region.to_owned()));
    if let Some(profile) = &options.profile {
        // Named in the settings, it comes before all others.
        let provider = ProfileFileCredentialsProvider::builder().profile_name(profile).build();
        loader = loader.profile_name(profile).credentials_provider(provider);
    }
    loader.load().await
}

/// Keys that expire, and new ones in time.
#[derive(Debug)]
struct Renewed {
    source: SharedCredentialsProvider,
    /// Held while new ones are asked for, so that they are asked for once.
    held: Mutex<Option<Held>>,
}

#[derive(Debug, Clone)]
struct Held {
    keys: Arc<AwsCredential>,
    /// In milliseconds since 1970; `None` when they never do.
    expire: Option<i64>,
    /// Not asked for again before, in milliseconds since 1970.
    rest: i64,
}

impl Renewed {
    fn new(source: SharedCredentialsProvider) -> Self {
        Self { source, held: Mutex::new(None) }
    }

    /// Keys that are good at this moment, in milliseconds since 1970.
    async fn ask(&self, now: i64) -> Result<Arc<AwsCredential>, CredentialsError> {
        let mut held = self.held.lock().await;
        if let Some(held) = &*held
            && (held.expire.is_none_or(|expire| now < expire - EARLY_MILLIS) || now < held.rest)
        {
            return Ok(Arc::clone(&held.keys));
        }
        match (self.source.provide_credentials().await, held.as_mut()) {
            (Ok(credentials), _) => {
                let new = Held::of(&credentials);
                let keys = Arc::clone(&new.keys);
                *held = Some(new);
                Ok(keys)
            }
            (Err(error), Some(held)) if held.expire.is_some_and(|expire| now < expire) => {
                tracing::warn!(error = causes(&error), "keys for S3 could not be renewed, those at hand are used until they expire");
                held.rest = held.expire.unwrap_or(now).min(now + PAUSE_MILLIS);
                Ok(Arc::clone(&held.keys))
            }
            (Err(error), _) => Err(error),
        }
    }
}

impl Held {
    fn of(credentials: &Credentials) -> Self {
        let keys = AwsCredential {
            key_id: credentials.access_key_id().to_owned(),
            secret_key: credentials.secret_access_key().to_owned(),
            token: credentials.session_token().map(str::to_owned),
        };
        let millis = |expiry: std::time::SystemTime| {
            let since = expiry.duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        };
        Self { keys: Arc::new(keys), expire: credentials.expiry().map(millis), rest: i64::MIN }
    }
}

#[async_trait]
impl CredentialProvider for Renewed {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> StoreResult<Arc<AwsCredential>> {
        let failed = |error: CredentialsError| StoreError::Generic { store: "S3", source: format!("no keys: {}", causes(&error)).into() };
        self.ask(now_millis()).await.map_err(failed)
    }
}

/// An error with what caused it: AWS's library says little in the first.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
