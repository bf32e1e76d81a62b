//! A provider for OpenFeature: experiments as flags.
//!
//! ```no_run
//! # async fn example(client: tidegate_sdk::Client) {
//! use open_feature::{EvaluationContext, OpenFeature};
//!
//! let mut api = OpenFeature::singleton_mut().await;
//! api.set_provider(tidegate_sdk::openfeature::TidegateProvider::new(client)).await;
//! let user = EvaluationContext::default().with_targeting_key("u1");
//! let checkout = api.create_client().get_string_value("checkout", Some(&user), None).await;
//! # }
//! ```
//!
//! A text flag is the variation; a boolean one is whether it is another than the control, which is the first one. The targeting key is the id that the experiment assigns by; the
//! fields `user_id`, `anonymous_id` and `session_id` say it by name. The exposure is sent as with [`Client::variation`].
//!
//! A subject that does not take part gets an error of the code `GENERAL`, for which the caller has its default: in the Rust SDK of OpenFeature a provider is not told that default.

use async_trait::async_trait;
use open_feature::provider::{FeatureProvider, ProviderMetadata, ResolutionDetails};
use open_feature::{
    EvaluationContext, EvaluationContextFieldValue, EvaluationError, EvaluationErrorCode, EvaluationReason, EvaluationResult, StructValue,
};

use crate::client::Client;
use crate::experiments::Subject;
use crate::scope::Scope;

/// Experiments of a client as flags. Closing the client is the application's.
#[derive(Debug)]
pub struct TidegateProvider {
    client: Client,
    metadata: ProviderMetadata,
}

impl TidegateProvider {
    /// Of this client's experiments.
    pub fn new(client: Client) -> Self {
        Self { client, metadata: ProviderMetadata::new("tidegate") }
    }

    fn variation(&self, flag_key: &str, context: &EvaluationContext) -> EvaluationResult<&str> {
        let Some(experiment) = self.client.experiment(flag_key) else {
            return Err(unknown(flag_key));
        };
        let field = |name: &str| match context.custom_fields.get(name) {
            Some(EvaluationContextFieldValue::String(text)) => text.clone(),
            Some(EvaluationContextFieldValue::Int(number)) => number.to_string(),
            _ => String::new(),
        };
        let mut scope = Scope::new().user_id(field("user_id")).anonymous_id(field("anonymous_id")).session_id(field("session_id"));
        let (name, id) = match experiment.subject {
            Subject::UserId => ("user_id", &mut scope.user_id),
            Subject::AnonymousId => ("anonymous_id", &mut scope.anonymous_id),
        };
        if id.is_empty() {
            *id = context.targeting_key.clone().unwrap_or_default();
        }
        if id.is_empty() {
            let message = format!("experiment {flag_key} assigns by {name}: give it as the targeting key or a field");
            return Err(error(EvaluationErrorCode::TargetingKeyMissing, message));
        }
        self.client.variation(flag_key, &scope).ok_or_else(|| {
            error(EvaluationErrorCode::General("GENERAL".to_owned()), format!("the subject does not take part in {flag_key}"))
        })
    }

    fn mismatch<T>(&self, flag_key: &str) -> EvaluationResult<ResolutionDetails<T>> {
        if self.client.experiment(flag_key).is_none() {
            return Err(unknown(flag_key));
        }
        Err(error(EvaluationErrorCode::TypeMismatch, format!("experiment {flag_key} gives a variation: ask for a text or a boolean")))
    }
}

#[async_trait]
impl FeatureProvider for TidegateProvider {
    fn metadata(&self) -> &ProviderMetadata {
        &self.metadata
    }

    async fn resolve_string_value(&self, flag_key: &str, context: &EvaluationContext) -> EvaluationResult<ResolutionDetails<String>> {
        let variation = self.variation(flag_key, context)?;
        Ok(ResolutionDetails::builder().value(variation.to_owned()).variant(variation).reason(EvaluationReason::Split).build())
    }

    async fn resolve_bool_value(&self, flag_key: &str, context: &EvaluationContext) -> EvaluationResult<ResolutionDetails<bool>> {
        let variation = self.variation(flag_key, context)?;
        let control = self.client.experiment(flag_key).and_then(|experiment| experiment.variations.first());
        let is_treated = control.is_some_and(|control| control != variation);
        Ok(ResolutionDetails::builder().value(is_treated).variant(variation).reason(EvaluationReason::Split).build())
    }

    async fn resolve_int_value(&self, flag_key: &str, _: &EvaluationContext) -> EvaluationResult<ResolutionDetails<i64>> {
        self.mismatch(flag_key)
    }

    async fn resolve_float_value(&self, flag_key: &str, _: &EvaluationContext) -> EvaluationResult<ResolutionDetails<f64>> {
        self.mismatch(flag_key)
    }

    async fn resolve_struct_value(&self, flag_key: &str, _: &EvaluationContext) -> EvaluationResult<ResolutionDetails<StructValue>> {
        self.mismatch(flag_key)
    }
}

fn unknown(flag_key: &str) -> EvaluationError {
    error(EvaluationErrorCode::FlagNotFound, format!("there is no experiment {flag_key}"))
}

fn error(code: EvaluationErrorCode, message: String) -> EvaluationError {
    EvaluationError::builder().code(code).message(message).build()
}
