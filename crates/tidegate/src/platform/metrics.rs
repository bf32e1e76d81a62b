//! Takes in what all crates count, and names it.

use telemetry::metrics::PrometheusHandle;

const BUILD_INFO: &str = "tidegate_build_info";

/// Takes in the metrics of this process and describes them.
pub(super) fn install() -> Result<PrometheusHandle, telemetry::Error> {
    let handle = telemetry::metrics::install()?;
    ::metrics::describe_gauge!(BUILD_INFO, "always 1; its labels tell what runs");
    ::metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    ingest::describe_metrics();
    journal::metrics::describe();
    lake::describe_metrics();
    dedup::metrics::describe();
    pipeline::metrics::describe();
    console::metrics::describe();
    Ok(handle)
}
