"""What the job measures, under the names that the workers use."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server


class Metrics:
    """The job's, for Prometheus to ask where an address is set."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        r = {"registry": self._registry}
        self._records = Counter("tidegate_bronze_records", "Records read from the journal and committed, refused ones included", **r)
        self._rows = Counter("tidegate_bronze_rows", "Rows added to Bronze", **r)
        self._bytes = Counter("tidegate_bronze_read_bytes", "Bytes read from the journal and committed", **r)
        self._lag = Gauge("tidegate_bronze_lag_records", "Records of the journal that Bronze does not have yet, by partition", ["partition"], **r)
        self._batch = Histogram("tidegate_bronze_batch_seconds", "One micro-batch of the stream", **r)
        self._rate = Gauge("tidegate_bronze_input_rows_per_second", "Records that the stream read a second, in its last micro-batch", **r)
        self._watermark = Gauge(
            "tidegate_watermark_seconds", "Newest time of receipt in Bronze less the allowed lateness, in seconds since 1970", **r
        )
        self._read = Counter("tidegate_silver_read_rows", "Rows of Bronze that Silver has decided about", **r)
        self._outcomes = Counter("tidegate_silver_rows", "What became of them, and facts such as `late`", ["outcome"], **r)
        self._step = Histogram("tidegate_silver_step_seconds", "From reading new rows of Bronze to Silver's commit", **r)
        self._gold = Histogram("tidegate_gold_refresh_seconds", "One model of Gold brought up to Silver", ["model"], **r)
        self._failures = Counter("tidegate_stage_failures", "Steps that failed", ["stage"], **r)
        self._fenced = Counter("tidegate_stage_fenced", "Of these, commits refused because another process had made their progress", ["stage"], **r)
        self._allowed_lateness = 0.0
        self._newest = 0

    def serve(self, address: str, allowed_lateness_micros: int) -> None:
        host, _, port = address.rpartition(":")
        self._allowed_lateness = allowed_lateness_micros / 1e6
        start_http_server(int(port), addr=host or "127.0.0.1", registry=self._registry)

    def bronze(self, records: int, rows: int, read_bytes: int, newest: int | None) -> None:
        self._records.inc(records)
        self._rows.inc(rows)
        self._bytes.inc(read_bytes)
        if newest is not None and newest > self._newest:
            self._newest = newest
            self._watermark.set(newest / 1e6 - self._allowed_lateness)

    def batch(self, progress: dict) -> None:
        """What Spark says of a micro-batch."""
        self._batch.observe(progress["durationMs"].get("triggerExecution", 0) / 1000)
        self._rate.set(progress.get("processedRowsPerSecond") or 0)

    def lag(self, records: dict[int, int]) -> None:
        for partition, behind in records.items():
            self._lag.labels(str(partition)).set(behind)

    def silver(self, read: int, totals: dict[str, int]) -> None:
        self._read.inc(read)
        for measure in ("silver", "duplicate", "dead_letter", "conflict", "late", "clock_corrected", "flagged"):
            self._outcomes.labels(measure).inc(totals.get(measure, 0))

    def silver_step(self, seconds: float) -> None:
        self._step.observe(seconds)

    def gold(self, model: str, seconds: float) -> None:
        self._gold.labels(model).observe(seconds)

    def failed(self, stage: str, fenced: bool) -> None:
        self._failures.labels(stage).inc()
        if fenced:
            self._fenced.labels(stage).inc()
