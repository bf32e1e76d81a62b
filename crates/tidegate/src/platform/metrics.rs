//! Takes in what all crates count, and names it.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ::metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit, describe_gauge, gauge, with_local_recorder,
};
use telemetry::metrics::PrometheusHandle;

const BUILD_INFO: &str = "tidegate_build_info";
const DISK_BYTES: &str = "tidegate_disk_bytes";
const DISK_FREE_BYTES: &str = "tidegate_disk_free_bytes";

/// Takes in the metrics of this process and describes them.
pub(super) fn install() -> Result<PrometheusHandle, telemetry::Error> {
    let handle = telemetry::metrics::install()?;
    describe();
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

/// Notes what changes by itself: what the process takes of the machine, and what the disk of the data folder has left.
pub(super) fn note(process: &metrics_process::Collector, data: &Path) {
    process.collect();
    match rustix::fs::statvfs(data) {
        Ok(disk) => {
            gauge!(DISK_BYTES).set(disk.f_blocks.saturating_mul(disk.f_frsize) as f64);
            gauge!(DISK_FREE_BYTES).set(disk.f_bavail.saturating_mul(disk.f_frsize) as f64);
        }
        Err(error) => tracing::debug!(%error, "what the disk has left cannot be told"),
    }
}

fn describe() {
    describe_gauge!(BUILD_INFO, "Always 1; its label version tells what runs");
    listener::describe();
    ingest::describe_metrics();
    journal::metrics::describe();
    lake::describe_metrics();
    dedup::metrics::describe();
    pipeline::metrics::describe();
    console::metrics::describe();
    describe_gauge!(DISK_BYTES, Unit::Bytes, "Size of the disk that the data folder is on");
    describe_gauge!(DISK_FREE_BYTES, Unit::Bytes, "What it has left for this process");
    metrics_process::Collector::default().describe();
}

/// What is said of one metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    /// Its name.
    pub(crate) name: String,
    /// `counter`, `gauge` or `histogram`.
    pub(crate) kind: &'static str,
    /// Its unit; nothing for plain numbers.
    pub(crate) unit: &'static str,
    /// What it says, with its labels.
    pub(crate) meaning: String,
}

/// All metrics there are, along the path of the data.
pub(crate) fn described() -> Vec<Described> {
    let collector = Collector::default();
    with_local_recorder(&collector, describe);
    collector.0.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Takes in descriptions, and nothing else.
#[derive(Debug, Default)]
struct Collector(Mutex<Vec<Described>>);

impl Collector {
    fn take(&self, name: &KeyName, kind: &'static str, unit: Option<Unit>, meaning: &SharedString) {
        let unit = match unit {
            Some(Unit::Count) | None => "",
            Some(unit) => unit.as_str(),
        };
        let described = Described { name: name.as_str().to_owned(), kind, unit, meaning: meaning.to_string() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(described);
    }
}

impl Recorder for Collector {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.take(&name, "counter", unit, &meaning);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.take(&name, "gauge", unit, &meaning);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.take(&name, "histogram", unit, &meaning);
    }

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// The metrics as the table of the reference.
pub(crate) fn markdown() -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let row = |metric: Described| format!("| `{}` | {} | {} | {} |\n", metric.name, metric.kind, metric.unit, cell(&metric.meaning));
    let rows: String = described().into_iter().map(row).collect();
    format!("| metric | type | unit | what it says |\n|---|---|---|---|\n{rows}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The reference holds the table that the program prints.
    #[test]
    fn the_reference_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/metrics.md");
        let reference = std::fs::read_to_string(path).unwrap();
        assert!(
            reference.contains(&markdown()),
            "put what `tidegate metrics --markdown` prints into docs/reference/metrics.md:\n{}",
            markdown()
        );
    }

    #[test]
    fn each_metric_is_said_once_and_with_the_unit_of_its_name() {
        let all = described();
        let names: BTreeSet<&str> = all.iter().map(|metric| metric.name.as_str()).collect();
        assert_eq!(names.len(), all.len(), "a metric is described twice");
        for Described { name, kind, unit, meaning } in &all {
            assert_eq!(*kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            let name = name.strip_suffix("_total").unwrap_or(name);
            let expect = if name.ends_with("_seconds") {
                "seconds"
            } else if name.ends_with("_bytes") {
                "bytes"
            } else {
                ""
            };
            assert!(*unit == expect || name.starts_with("process_"), "{name} is in {unit:?}");
            assert!(!meaning.is_empty(), "{name}");
        }
        assert!(all.iter().any(|metric| metric.name == "process_resident_memory_bytes"));
    }
}
