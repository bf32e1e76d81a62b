"""Scale on paper and by simulation: what a load of 1 to 1,000,000 events a second asks of cores, Kafka, the logs of the tables, S3 and money, what breaks first, and which setting moves it.

    python3 bench/scale.py                              # all tables
    python3 bench/scale.py --write                      # puts them into docs/scale.md, and draws docs/images/scale.svg
    python3 bench/scale.py --report report.json         # with what `cargo xtask bench` has measured; its runs are looked for beside the report
    python3 bench/scale.py --report report.json --write # keeps that in bench/constants.json as well, in place of what another run had there

Nothing but the standard library, no clock, and seeds that are given: the same constants give the same tables. A test holds the page to it.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import scale_picture
from scale_commits import Writers, play
from scale_constants import CONSTANTS, COUNTS, MEASURED, ROOT, Constants, of_report, read_constants, read_prices, read_settings, written
from scale_limits import LIMITS, RATES, Limit, at_rate, exceeded, moves, reached_at
from scale_model import State, manned, of_the_harness, rate_on_one_machine, typical

PAGE = ROOT / "docs/scale.md"
SIMULATED_WORKERS, SIMULATED_INTERVALS, SIMULATED_RATE = (1, 2, 4, 8, 16, 32, 64), (1, 10), 1_000
UPLOADS = (4, 64)
LOADS_OF_LATE_EVENTS = ((0.0, 1), (0.01, 7), (0.05, 363))
UNMEASURED = "not measured yet"


def shown(value: float) -> str:
    """A number in three digits that matter."""
    if value == 0:
        return "0"
    if abs(value) >= 1e12:
        return f"{shown(value / 1e12)} T"
    if abs(value) >= 1e9:
        return f"{shown(value / 1e9)} G"
    if abs(value) >= 1e7:
        return f"{shown(value / 1e6)} M"
    if abs(value) >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    text = f"{value:.3g}"
    return f"{value:.5f}".rstrip("0") if "e" in text else text


def of_bytes(value: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{shown(value / size)} {unit}"
    return f"{shown(value)} B"


def of_seconds(value: float) -> str:
    for unit, size in (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if value >= 2 * size:
            return f"{shown(value / size)} {unit}"
    return f"{shown(value)} s" if value >= 0.1 else f"{shown(value * 1e3)} ms"


def of_setting(name: str, value: float) -> str:
    """As one writes it."""
    if name.endswith("_interval") and not name.endswith("checkpoint_interval"):
        return f"{value:.0f}s"
    if name.endswith("bytes_max"):
        return f"{value / 2**30:.0f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"
    return f"{value:,.0f}"


def of_rate(rate: float) -> str:
    return f"{rate:,.0f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join([f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(cells)} |" for cells in rows)])


def settled(state: State) -> State:
    """With all settings moved that help."""
    for _, moved in moves(state):
        state = moved
    return state


def constants_table(constants: Constants) -> str:
    """Each with how well it is known, and where it is from."""
    began = constants.run.get("began", "")[:10]
    rows = []
    for name, constant in CONSTANTS.items():
        kind, source = ("measured", f"`cargo xtask bench`, {began}") if name in constants.measured else (constant.kind, constant.source)
        rows.append([f"`{name}`", shown(constants.values[name]), constant.unit, f"**{kind}**" if kind == "assumed" else kind, source])
    return table(["constant", "value", "unit", "how known", "from"], rows)


ROWS: tuple[tuple[str, Callable[[State], str]], ...] = (
    ("cores of gates, in batches; one event a request", lambda state: f"{shown(state.gate_cores)}; {shown(state.gate_cores_singly)}"),
    ("workers", lambda state: str(state.workers)),
    ("cores of all workers", lambda state: shown(state.worker_cores)),
    ("a worker's stage that is busier (over 1: falls behind)", lambda state: shown(state.busy)),
    ("Kafka takes; partitions; brokers", lambda state: f"{shown(state.kafka_mb)} MB/s; {state.partitions}; {state.brokers}" if state.brokers else "embedded"),
    ("commits/s of Bronze; of Silver", lambda state: f"{shown(state.bronze_commits)}; {shown(state.silver_commits)}"),
    ("PUT of the entry, for each commit", lambda state: str(state.workers)),
    ("events of a commit of Bronze; of Silver", lambda state: f"{shown(state.bronze.events)}; {shown(state.silver.events)}"),
    ("until an event can be queried, at most about", lambda state: of_seconds(state.queryable_seconds) if state.busy <= 1 else "grows"),
    ("files of a commit of Silver", lambda state: shown(state.silver_files)),
    ("files a day, as written; after compaction", lambda state: f"{shown(state.files_a_day)}; {shown(state.files_a_day_joined)}"),
    ("entries of the logs a day", lambda state: f"{shown((state.bronze_commits + state.silver_commits) * 86_400)}, {of_bytes(state.log_bytes_a_day)}"),
    ("a checkpoint of Silver", lambda state: f"{shown(state.checkpoint_files)} files, {of_seconds(state.checkpoint_seconds)}"),
    ("index of a year: filters; disk of each worker", lambda state: f"{of_bytes(state.filter_bytes)}; {of_bytes(state.index_disk_bytes)}"),
    ("Gold at the end of a day: memory; a pass", lambda state: f"{of_bytes(state.gold_bytes)}; {of_seconds(state.gold_seconds)}"),
    ("page of live events goes back", lambda state: of_seconds(state.live_seconds)),
    ("S3 a second: PUT; GET and HEAD; LIST", lambda state: f"{shown(state.puts)}; {shown(state.gets)}; {shown(state.lists)}"),
    ("S3 requests for a million events", lambda state: shown((state.puts + state.gets + state.lists) / state.load.rate * 1e6)),
    ("dollars a million events: requests", lambda state: shown(state.a_million(state.request_dollars))),
    ("machines and brokers", lambda state: shown(state.a_million(state.machine_dollars))),
    ("disks of the index", lambda state: shown(state.a_million(state.index_dollars))),
    ("between zones; kept on S3", lambda state: f"{shown(state.a_million(state.traffic_dollars))}; {shown(state.a_million(state.storage_dollars))}"),
    ("**in all**", lambda state: f"**{shown(state.a_million(state.dollars))}**"),
)


def rates_table(states: list[State]) -> str:
    head = ["events a second", *(of_rate(state.load.rate) for state in states)]
    return table(head, [[name, *(told(state) for state in states)] for name, told in ROWS])


Passed = dict[str, tuple[float, bool] | None]
"""At which rate each limit is passed, and whether above it or below it."""


def rank(limit: Limit, passed: Passed) -> float:
    """What is passed below a rate is there from the first event on; what never is comes last."""
    found = passed[limit.name]
    return float("inf") if found is None else found[0] if found[1] else 0


def limits_table(states: list[State], passed: Passed) -> str:
    """How full each is at each rate, in the order in which they are passed."""
    rows = []
    for limit in sorted(LIMITS, key=lambda limit: rank(limit, passed)):
        found = passed[limit.name]
        at = "never" if found is None else f"{'above' if found[1] else 'below'} {shown(found[0])}"
        moves_it = "; ".join(part for part in (", ".join(f"`{name}`" for name in limit.settings), limit.instead) if part)
        uses = [limit.use(state) for state in states]
        rows.append([limit.name, at, *(f"**{shown(use)}**" if use > 1 else shown(use) for use in uses), limit.beyond, moves_it])
    return table(["limit", "passed", *(of_rate(rate) for rate in RATES), "then", "what moves it"], rows)


def moved_table(states: list[State], passed: Passed) -> str:
    """What breaks first at each rate, which settings were moved for it, and what no setting moves."""
    rows = []
    for state in states:
        broken = sorted((limit for limit, _ in exceeded(state)), key=lambda limit: rank(limit, passed))
        soft, hard = ([limit.name for limit in broken if limit.fails is fails] for fails in (False, True))
        moved = settled(state)
        changed = [f"`{name} = {of_setting(name, value)}`" for name, value in moved.settings.items() if value != state.settings[name]]
        stays = sorted(exceeded(moved), key=lambda found: rank(found[0], passed))
        workers = str(state.workers) if moved.workers == state.workers else f"{state.workers} → {moved.workers}"
        until = of_seconds(moved.queryable_seconds) if moved.busy <= 1 else "grows"
        dollars = f"{shown(state.a_million(state.dollars))} → {shown(moved.a_million(moved.dollars))}"
        left = "; ".join(f"{limit.name} ({shown(use)})" for limit, use in stays)
        rows.append([of_rate(state.load.rate), (soft or ["nothing"])[0], (hard or ["nothing"])[0], ", ".join(changed) or "none", workers, until, dollars, left or "nothing"])
    head = ["events a second", "slower or dearer first", "fails first", "settings moved", "workers", "until it can be queried", "dollars a million", "what stays"]
    return table(head, rows)


def late_table(state: State) -> str:
    """What late events ask of Silver: files, and with them the rate of one worker and of four."""
    rows = []
    for share, days in LOADS_OF_LATE_EVENTS:
        load = replace(state.load, late_share=share, late_days=days)
        late = replace(state, load=load)
        batch = late.silver_batch
        cells = [f"{share:.0%}" + (f" over {days} days" if share else ""), shown(load.days(10_000)), shown(load.days(batch))]
        for uploads in UPLOADS:
            for workers in (1, 4):
                sent = replace(late, workers=workers, settings=late.settings | {"lake.uploads_max": float(uploads)})
                cells.append(shown(workers * batch / sent.silver_seconds(batch)))
        gold = load.days(10_000 * state.settings["pipeline.gold_interval"])
        rows.append([*cells, shown(gold)])
    head = ["late", "files of a commit of 10,000 events", "of a full one"]
    rates = [f"events/s of {workers} worker{'s' if workers > 1 else ''}, `uploads_max` {uploads}" for uploads in UPLOADS for workers in (1, 4)]
    return table([*head, *rates, "days that Gold makes anew each pass, 10,000 events/s"], rows)


def commits_table(state: State) -> str:
    """The simulation, beside what the model says."""
    constants, attempts_max = state.constants, int(state.settings["lake.commit_attempts_max"])
    rows = []
    for workers in SIMULATED_WORKERS:
        cells = [str(workers)]
        for interval in SIMULATED_INTERVALS:
            outcome = play(Writers(workers, interval, attempts_max, SIMULATED_RATE / workers * constants.bronze_wall_us / 1e6, constants))
            own = replace(at_rate(state, SIMULATED_RATE), workers=workers, settings=state.settings | {"pipeline.commit_interval": float(interval)})
            cells += [shown(own.bronze_commits), shown(outcome.commits_per_second), shown(outcome.attempts_per_commit), shown(outcome.given_up_per_commit), of_seconds(outcome.delay_p99)]
        rows.append(cells)
    columns = [f"{what}, every {interval} s" for interval in SIMULATED_INTERVALS for what in ("commits/s by the model", "simulated", "PUT a commit", "given up a commit", "p99 of the delay")]
    return table(["workers", *columns], rows)


def check_table(state: State) -> str:
    """1, 2 and 4 workers on one machine: what the model says, and what was measured."""
    measured, first = state.constants.workers, 0.0
    rows = []
    for count in COUNTS:
        predicted = rate_on_one_machine(replace(state, workers=count))
        first = first or predicted
        found = measured.get(count)
        if found is None:
            rows.append([str(count), shown(predicted), shown(predicted / first), UNMEASURED, "", ""])
            continue
        beside_one = shown(found / measured[1]) if 1 in measured else ""
        rows.append([str(count), shown(predicted), shown(predicted / first), shown(found), beside_one, shown(found / predicted)])
    return table(["workers", "predicted, events/s", "beside one", "measured, events/s", "beside one", "measured / predicted"], rows)


def run_line(constants: Constants) -> str:
    if not constants.run:
        return "Constants: none is of a run of the harness; `python3 bench/scale.py --report REPORT.json --write` takes those of one."
    run, machine = constants.run, constants.run["machine"]
    return (
        f"Constants of the harness: measured {run['began']} at commit {run['commit']}, on {machine['cores']} cores ({machine['processor']}), "
        f"{machine['memory']} of memory, Linux {machine['kernel']}; {run['rounds']} rounds, stages of {run['events']:,} events."
    )


def initial(constants: Constants) -> State:
    """One event a second, with the settings as by default."""
    return manned(State(constants, read_settings(), read_prices(), typical(constants, 1), 1))


def parts(constants: Constants) -> dict[str, str]:
    """What stands between the marks of the page."""
    state = initial(constants)
    states = [at_rate(state, rate) for rate in RATES]
    passed = {limit.name: reached_at(limit, state) for limit in LIMITS}
    return {
        "run": run_line(constants),
        "constants": constants_table(constants),
        "rates": rates_table(states),
        "limits": limits_table(states, passed),
        "moved": moved_table(states, passed),
        "late": late_table(state),
        "commits": commits_table(state),
        "check": check_table(replace(state, load=of_the_harness(constants, 1))),
    }


def filled(page: str, texts: dict[str, str]) -> str:
    """The page with the texts between their marks. A mark that is not there is an error."""
    for name, text in texts.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if (page.count(begin), page.count(end)) != (1, 1):
            raise SystemExit(f"{PAGE.name} must have one {begin}, and behind it one {end}")
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n\n{text}\n\n{end}{after}"
    return page


def picture(constants: Constants) -> str:
    state = initial(constants)
    by_default = [at_rate(state, rate) for rate in scale_picture.RATES]
    return scale_picture.draw(by_default, [settled(one) for one in by_default])


def main() -> None:
    parser = argparse.ArgumentParser(description="What a load asks of the platform, by a model of measured constants and a simulation")
    parser.add_argument("--constants", type=Path, default=MEASURED, metavar="FILE", help="values in the place of those of the table (bench/constants.json)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="a report.json of `cargo xtask bench`, whose figures take the place of the constants that it has")
    parser.add_argument("--write", action="store_true", help="write docs/scale.md and docs/images/scale.svg, and with a report the file of constants")
    options = parser.parse_args()
    constants = of_report(options.report) if options.report else read_constants(options.constants)
    if options.report and options.write:
        options.constants.write_text(written(constants), encoding="utf-8")
    texts = parts(constants)
    if not options.write:
        print("\n\n".join(f"{name}\n\n{text}" for name, text in texts.items()))
        return
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), texts), encoding="utf-8")
    scale_picture.PICTURE.write_text(picture(constants), encoding="utf-8")


if __name__ == "__main__":
    main()
