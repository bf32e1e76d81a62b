//! Metrics, in memory, for whoever asks: rendered as Prometheus text.

use std::sync::{Mutex, PoisonError};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

pub use metrics_exporter_prometheus::PrometheusHandle;

use crate::Error;

/// How often the one who holds the handle is to call its `run_upkeep`, in seconds: samples of histograms pile up in between.
pub const UPKEEP_SECONDS: u64 = 5;

/// Half a millisecond, below which nothing durable is done, to five minutes, which a compaction may take.
const SECONDS: [f64; 18] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// Records of a group, events of a request.
const COUNTS: [f64; 9] = [1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0];
/// 256 bytes to 64 MiB.
const BYTES: [f64; 10] = [256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Takes in the metrics of this process from now on. Asked again, it hands out the same handle.
///
/// # Errors
///
/// [`Error::Metrics`] when the metrics go elsewhere already.
pub fn install() -> Result<PrometheusHandle, Error> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let recorder = builder()?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| Error::Metrics)?;
    Ok(installed.insert(handle).clone())
}

fn builder() -> Result<PrometheusBuilder, Error> {
    let suffix = |text: &str| Matcher::Suffix(text.to_owned());
    PrometheusBuilder::new()
        .set_buckets(&COUNTS)
        .and_then(|builder| builder.set_buckets_for_metric(suffix("_seconds"), &SECONDS))
        .and_then(|builder| builder.set_buckets_for_metric(suffix("_bytes"), &BYTES))
        .map_err(|error| Error::Buckets(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_emitted_is_rendered_with_buckets() {
        let handle = install().unwrap();
        metrics::counter!("tidegate_test_total", "code" => "a").increment(3);
        metrics::histogram!("tidegate_test_seconds").record(0.02);
        metrics::histogram!("tidegate_test_events").record(5.0);
        let text = install().unwrap().render();
        for line in [
            r#"tidegate_test_total{code="a"} 3"#,
            r#"tidegate_test_seconds_bucket{le="0.025"} 1"#,
            r#"tidegate_test_seconds_bucket{le="0.01"} 0"#,
            r#"tidegate_test_events_bucket{le="16"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        handle.run_upkeep();
    }
}
