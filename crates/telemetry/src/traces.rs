//! Traces, by OTLP over HTTP.
//!
//! The crates of the data path tell of events whose senders trace their way, as `tracing` events of [`contract::trace::TARGET`]: the stage, the sender's `traceparent`, and when it began and ended. Here each becomes a span of the
//! sender's own trace, and goes to a collector in the background: within a bound, never in the way of an event, and what cannot be sent is left out.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer;

use crate::Error;

const SERVICE: &str = "tidegate";
/// How long the collector may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last spans may take at the end of the process.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// What makes spans and sends them.
#[derive(Debug, Clone)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Sends spans to this address, such as `http://127.0.0.1:4318/v1/traces`, as this version of the program. Needs the runtime that it is called in for as long as it sends.
    ///
    /// # Errors
    ///
    /// [`Error::Traces`] for an address that is none.
    pub fn to(endpoint: &str, version: &'static str) -> Result<Self, Error> {
        let wrong = |problem: String| Error::Traces { endpoint: endpoint.to_owned(), problem };
        let http = reqwest::Client::builder().timeout(ANSWER_TIMEOUT).build().map_err(|error| wrong(error.to_string()))?;
        reqwest::Url::parse(endpoint).map_err(|error| wrong(error.to_string()))?;
        let client = Client { http, runtime: Handle::current(), fails: AtomicBool::new(false) };
        let exporter =
            SpanExporter::builder().with_http().with_http_client(client).with_endpoint(endpoint).with_protocol(Protocol::HttpBinary);
        let exporter = exporter.build().map_err(|error| wrong(error.to_string()))?;
        let resource = Resource::builder().with_service_name(SERVICE).with_attribute(KeyValue::new("service.version", version)).build();
        let provider = SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build();
        let tracer = provider.tracer(SERVICE);
        Ok(Self { provider, tracer })
    }

    /// Sends what is left, within a few seconds.
    pub async fn end(self) {
        // It waits for its own thread, which needs this runtime.
        let ended = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(END_TIMEOUT)).await;
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last spans were not sent"),
            Err(error) => tracing::warn!(%error, "the last spans were not sent"),
        }
    }
}

impl<S: Subscriber> Layer<S> for Traces {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        let mut told = Told::default();
        event.record(&mut told);
        let Some(parent) = told.parent else { return };
        let context = Context::new().with_remote_span_context(parent);
        let builder = SpanBuilder::from_name(format!("{SERVICE} {}", told.stage))
            .with_kind(SpanKind::Consumer)
            .with_start_time(time(told.began))
            .with_attributes(told.attributes);
        let mut span = self.tracer.build_with_context(builder, &context);
        span.end_with_timestamp(time(told.ended));
    }
}

fn time(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

/// What an event says.
#[derive(Debug, Default)]
struct Told {
    stage: String,
    parent: Option<SpanContext>,
    began: i64,
    ended: i64,
    attributes: Vec<KeyValue>,
}

impl Visit for Told {
    fn record_i64(&mut self, field: &Field, value: i64) {
        match field.name() {
            "began" => self.began = value,
            "ended" => self.ended = value,
            name => self.attributes.push(KeyValue::new(format!("{SERVICE}.{name}"), value)),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "stage" => value.clone_into(&mut self.stage),
            name => self.attributes.push(KeyValue::new(format!("{SERVICE}.{name}"), value.to_owned())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "parent" {
            self.parent = remote(&format!("{value:?}"));
        }
    }
}

/// The span that a `traceparent` names.
fn remote(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-').skip(1);
    let (trace, span) = (TraceId::from_hex(parts.next()?).ok()?, SpanId::from_hex(parts.next()?).ok()?);
    let context = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::default());
    context.is_valid().then_some(context)
}

/// Sends requests on the runtime of the program: the exporter has a thread of its own, and none of the runtime's.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
    /// Whether the last one came to nothing: that is said once.
    fails: AtomicBool,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let sent = self.runtime.spawn(async move {
            let answer = http.execute(request.try_into()?).await?;
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = answer.status();
            *response.body_mut() = answer.bytes().await?;
            Ok::<_, reqwest::Error>(response)
        });
        let outcome = match sent.await {
            Ok(outcome) => outcome.map_err(HttpError::from),
            Err(error) => Err(HttpError::from(error)),
        };
        let problem = match &outcome {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answers {}", response.status())),
            Err(error) => Some(error.to_string()),
        };
        match (problem, self.fails.load(Ordering::Relaxed)) {
            (Some(problem), false) => tracing::warn!(problem, "spans cannot be sent to the collector; they are left out until they can"),
            (None, true) => tracing::info!("spans are sent to the collector again"),
            (Some(_), true) | (None, false) => {}
        }
        self.fails.store(!outcome.as_ref().is_ok_and(|response| response.status().is_success()), Ordering::Relaxed);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_read() {
        let parent = remote("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        assert_eq!(parent.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!((parent.span_id().to_string().as_str(), parent.is_remote(), parent.is_sampled()), ("b7ad6b7169203331", true, true));
        assert!(remote("00-00000000000000000000000000000000-b7ad6b7169203331-01").is_none() && remote("").is_none());
    }

    #[tokio::test]
    async fn an_address_is_needed() {
        assert!(matches!(Traces::to("nowhere", "1"), Err(Error::Traces { .. })));
        Traces::to("http://127.0.0.1:1/v1/traces", "1").unwrap().end().await;
    }
}
