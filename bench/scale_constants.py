"""What the model of scale is made of: each constant with its unit and where it is from, the defaults of the settings, and the prices. No arithmetic is here.

There is one place for each number. Constants are in the table below; what a run of `cargo xtask bench` measured takes their place, from `constants.json`. Settings are read
from docs/reference/configuration.md and prices from docs/costs.md, as they stand there.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MEASURED = Path(__file__).with_name("constants.json")
CONFIGURATION = ROOT / "docs/reference/configuration.md"
COSTS = ROOT / "docs/costs.md"
FORMAT = 1
COUNTS = (1, 2, 4)
"""How many workers the scenario `workers` plays with."""

Report = dict[str, Any]


@dataclass(frozen=True)
class Constant:
    """A number. `kind` says how well it is known: measured, from the code, or assumed."""

    value: float
    unit: str
    kind: str
    source: str


CONSTANTS = {
    # The load.
    "event_bytes": Constant(850, "bytes", "assumed", "the events of the stages in [the harness](performance.md#how-it-is-measured)"),
    "receipt_bytes": Constant(120, "bytes", "assumed", "key and receipt of a record of the journal"),
    "late_share": Constant(0.01, "of all events", "assumed", "older than a day; the harness has 0.05"),
    "late_days": Constant(7, "days", "assumed", "over which these are spread evenly; the harness has 363"),
    "harness_late_share": Constant(0.05, "of all events", "code", "`xtask/src/bench/load.rs`"),
    "harness_late_days": Constant(363, "days", "code", "`crates/tidegate/src/bench/model.rs`"),
    "kept_days": Constant(90, "days", "assumed", "of Bronze and Silver on S3, as in [Costs](costs.md#10000-events-a-second)"),
    "known_days": Constant(365, "days", "assumed", "of identities in the index, which forgets none"),
    # The gate.
    "gate_batch_cpu_us": Constant(25, "µs of CPU an event", "measured", "80,000 events/s on two cores, [decision 12](decisions/0012-backfill.md); report: events a second of CPU in `batch-kafka`"),
    "gate_single_cpu_us": Constant(100, "µs of CPU an event", "assumed", "one event a request; report: events a second of CPU in `single-kafka`"),
    # A worker.
    "worker_cpu_us": Constant(24, "µs of CPU an event", "measured", "605,000 events through Bronze and Silver on two cores; report: CPU of `silver` by its events"),
    "silver_wall_us": Constant(13.2, "µs an event", "measured", "the same 605,000 in 8 s: the longer of two stages that run at the same time; report: `silver`"),
    "bronze_wall_us": Constant(10.8, "µs an event", "measured", "what the CPU leaves beside Silver, at most; report: what `silver` leaves"),
    "commit_cpu_us": Constant(700, "µs of CPU a commit", "measured", "without syncs, 1,000 rows, [decision 3](decisions/0003-lake.md)"),
    "index_insert_us": Constant(1.0, "µs an identity", "measured", "[decision 6](decisions/0006-index.md)"),
    "index_read_us": Constant(0.3, "µs an identity", "assumed", "three columns of what another worker wrote, and its digest"),
    "index_filter_bytes": Constant(2.4, "bytes an identity", "measured", "[decision 6](decisions/0006-index.md); report: filters in `history`"),
    "index_disk_bytes": Constant(32, "bytes an identity", "measured", "[decision 6](decisions/0006-index.md)"),
    "bronze_bytes": Constant(150, "bytes an event", "assumed", "half of the 300 of [Costs](costs.md#1-event-a-second), twice what was measured; report: `storage`"),
    "silver_bytes": Constant(150, "bytes an event", "assumed", "the other half; report: `storage`"),
    # The log of a table.
    "entry_bytes": Constant(700, "bytes a commit", "measured", "`commitInfo` in `crates/tidegate/tests/formats`; it grows with sources and hours"),
    "progress_bytes": Constant(84, "bytes each", "measured", "a `txn` there; Silver has one for each of 16 buckets, Bronze one for each partition"),
    "add_bytes": Constant(830, "bytes a file", "measured", "an `add` there, with its statistics"),
    "checkpoint_us": Constant(4.75, "µs a file", "measured", "95 ms with 20,000 files, [decision 3](decisions/0003-lake.md)"),
    # S3.
    "put_ms": Constant(40, "ms, mean", "assumed", "one PUT of an entry of the log, with `If-None-Match`"),
    "get_ms": Constant(20, "ms, mean", "assumed", "one GET or HEAD"),
    "file_put_ms": Constant(60, "ms, mean", "assumed", "one PUT of a data file"),
    "latency_spread": Constant(0.5, "sigma of the logarithm", "assumed", "of the latencies of the simulation: p99 is 2.8 times the mean"),
    "prefix_puts": Constant(3500, "PUT/s", "assumed", "what S3 promises for one prefix, as its documents say"),
    "reads": Constant(78, "GET and HEAD a commit", "measured", "of all who read, one worker: the line through the two counts of [Costs](costs.md#requests-of-s3)"),
    "reads_always": Constant(2, "GET and HEAD/s", "measured", "the same line, where nothing is committed"),
    "lists": Constant(1.8, "LIST a commit", "measured", "the same two counts"),
    "lists_always": Constant(0.15, "LIST/s", "measured", "the same two counts"),
    "gold_puts": Constant(11.5, "PUT each time", "measured", "counted there"),
    "ledger_puts": Constant(2, "PUT each time", "measured", "counted there"),
    "gate_lists": Constant(0.5, "LIST/s a gate", "measured", "counted there"),
    # Kafka.
    "kafka_ratio": Constant(0.5, "of the bytes", "assumed", "what lz4 leaves"),
    "partition_mb": Constant(10, "MB/s", "assumed", "one partition, compressed"),
    "broker_mb": Constant(30, "MB/s", "assumed", "taken by one broker of kafka.m7g.xlarge, before its replicas"),
    # The console.
    "live_events": Constant(20_000, "events", "code", "kept for the page of live events, `crates/console/src/live.rs`"),
    "live_bytes": Constant(float(32 << 20), "bytes", "code", "the same"),
    # Machines.
    "worker_disk": Constant(1e12, "bytes", "assumed", "what a worker has for its index"),
    # Gold.
    "gold_bytes": Constant(420, "bytes an event of the day", "measured", "`sessions` did not fit in 96 MiB with 240,000, [a small machine](../deploy/aws/README.md#what-fits-in-1-gib)"),
    "gold_rows": Constant(1e6, "events/s", "assumed", "a day's rows through all models that follow Silver, two cores"),
    # How full a thing may be.
    "busy_max": Constant(0.6, "of a core", "assumed", "so that a worker catches up after it stood still"),
    # The machine that the check is made on.
    "local_request_ms": Constant(2, "ms", "assumed", "one request to an S3 server on the same machine"),
    "local_request_cpu_us": Constant(600, "µs of CPU a request", "assumed", "of both sides"),
    "local_kafka_cpu_us": Constant(2, "µs of CPU an event", "assumed", "of a broker that is read"),
    "local_cores": Constant(2, "cores", "measured", "the machine of the figures; report: its cores"),
}


@dataclass(frozen=True)
class Constants:
    """The values by their names; those of one run of the harness, what it measured with 1, 2 and 4 workers (events a second to Silver), and which run it was."""

    values: dict[str, float]
    measured: frozenset[str] = frozenset()
    workers: dict[int, float] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> float:
        try:
            value: float = self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(name) from None
        return value

    def changed(self, **values: float) -> "Constants":
        """The same with some other values."""
        return replace(self, values=self.values | values)


def known(values: dict[str, float], workers: dict[int, float], run: dict[str, Any]) -> Constants:
    """The table, with what a run has measured in the place of its values."""
    return Constants({name: constant.value for name, constant in CONSTANTS.items()} | values, frozenset(values), workers, run)


def read_constants(file: Path) -> Constants:
    """The same of a file, each value of which is checked."""
    text = json.loads(file.read_text(encoding="utf-8"))
    values, workers = text.get("values", {}), text.get("workers", {})
    unknown = set(text) - {"format", "run", "values", "workers"} | set(values) - set(CONSTANTS) | set(workers) - {str(count) for count in COUNTS}
    if text.get("format") != FORMAT or unknown:
        raise SystemExit(f"{file} is not of format {FORMAT}, or has what is not known: {sorted(unknown)}")
    for name, value in [*values.items(), *workers.items()]:
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise SystemExit(f"{file}: {name} must be a number over 0")
    return known(values, {int(count): rate for count, rate in workers.items()}, text.get("run", {}))


def written(constants: Constants) -> str:
    """The file that `read_constants` reads: what was measured, and nothing of the table."""
    values = {name: constants.values[name] for name in sorted(constants.measured)}
    text = {"format": FORMAT, "run": constants.run, "values": values, "workers": {str(count): rate for count, rate in sorted(constants.workers.items())}}
    return json.dumps(text, indent=2) + "\n"


def of_report(file: Path) -> Constants:
    """The table with what a `report.json` of `cargo xtask bench` says, and the reports of its runs beside it. A scenario that was not played, or that failed, says nothing."""
    report: Report = json.loads(file.read_text(encoding="utf-8"))
    if (report.get("what"), report.get("version")) != ("comparison", 1):
        raise SystemExit(f"{file} is no report of `cargo xtask bench`")
    events = float(report["settings"]["events"])
    values: dict[str, float] = {"local_cores": float(report["machine"]["cores"])}

    def take(name: str, value: float | None, change: Callable[[float], float] = lambda value: value) -> None:
        if value:
            values[name] = round(change(value), 3)

    take("gate_single_cpu_us", ours(report, "single-kafka", "events a second of CPU"), lambda rate: 1e6 / rate)
    take("gate_batch_cpu_us", of_runs(file, "batch-kafka", "ours-*.json", "events_per_cpu_second"), lambda rate: 1e6 / rate)
    take("bronze_bytes", ours(report, "storage", "bytes an event in Bronze"))
    take("silver_bytes", ours(report, "storage", "bytes an event in Silver"))
    take("index_filter_bytes", ours(report, "history", "filters in memory, 100 M ids by time"), lambda megabytes: megabytes / 100)
    cpu = of_runs(file, "silver", "ours-*.json", "measured_cpu_seconds")
    rate = of_runs(file, "silver", "ours-*.json", "silver_events_per_second")
    if cpu and rate:
        worker, silver = cpu * 1e6 / events, 1e6 / rate
        take("worker_cpu_us", worker)
        take("silver_wall_us", silver)
        # The stages may wait for each other, so that Silver seems to take all of it: Bronze takes something.
        take("bronze_wall_us", max(worker - silver, 0.1 * worker))
    workers = {}
    for count, rate in ((1, theirs(report, "workers")), *((count, ours(report, "workers", f"events a second to Silver by {count}")) for count in COUNTS[1:])):
        if rate:
            workers[count] = round(rate, 1)
    run = {"began": report["began"], "commit": report["commit"], "machine": report["machine"], "rounds": report["settings"]["rounds"], "events": report["settings"]["events"]}
    return known(values, workers, run)


def comparisons(report: Report, scenario: str) -> list[dict[str, Any]]:
    """Those of a scenario that was played."""
    return [comparison for played in report["scenarios"] if played["scenario"] == scenario and not played["error"] for comparison in played["comparisons"]]


def ours(report: Report, scenario: str, what: str) -> float | None:
    """The median of our figures over the rounds."""
    return next((median(found["ours"]) for found in comparisons(report, scenario) if found["what"] == what and found["ours"]), None)


def theirs(report: Report, scenario: str) -> float | None:
    """The median of all figures that ours stand beside."""
    figures = [figure for found in comparisons(report, scenario) for figure in found["theirs"]]
    return median(figures) if figures else None


def of_runs(report: Path, scenario: str, runs: str, figure: str) -> float | None:
    """The median of a figure over the runs whose reports the harness leaves beside its own."""
    found = [json.loads(run.read_text(encoding="utf-8"))["figures"].get(figure) for run in sorted((report.parent / scenario).glob(runs))]
    figures = [value for value in found if value]
    return median(figures) if figures else None


UNITS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "day": 86400.0, "days": 86400.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}


def read_settings(page: Path = CONFIGURATION) -> dict[str, float]:
    """The defaults of the settings that are numbers, times (in seconds) or sizes (in bytes), by their full names."""
    settings, section = {}, ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if heading := re.search(r"`\[([\w.]+)\]`", line):
            section = heading[1]
        if row := re.match(r"\| `([\w.]+)` \| ([\d,]+) ?(\w*) \|", line):
            name, number, unit = row.groups()
            if unit in UNITS:
                settings[f"{section}.{name}"] = float(number.replace(",", "")) * UNITS[unit]
    return settings


def read_prices(page: Path = COSTS) -> dict[str, float]:
    """The prices in dollars, by the names that the table of docs/costs.md has for them. A list of names goes with a list of prices; else it is one name."""
    table = page.read_text(encoding="utf-8").split("The prices used, each a unit:")[1].split("\n## ")[0]
    prices = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        for names, texts in zip(cells[::2], cells[1::2], strict=False):
            separator = "; " if ";" in names else ", "
            several, numbers = names.split(separator), texts.split(separator)
            pairs = zip(several, numbers, strict=True) if len(several) == len(numbers) else [(names, texts)]
            for name, text in pairs:
                if number := re.match(r"[\d.]+", text):
                    prices[name] = float(number[0])
    return prices
