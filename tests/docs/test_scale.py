"""docs/scale.md is what bench/scale.py makes of the constants; its model and its simulation do what they say; reports of the harness are read."""

import json
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import scale  # noqa: E402
import scale_constants  # noqa: E402
import scale_picture  # noqa: E402
from scale_commits import Table, Writers, play  # noqa: E402
from scale_limits import LIMITS, at_rate, exceeded, moves, reached_at  # noqa: E402
from scale_model import Load, of_the_harness, paced, rate_on_one_machine  # noqa: E402

MADE_ANEW = "python3 bench/scale.py --write makes it anew"
CONSTANTS = scale_constants.known({}, {}, {})
ONE = scale.initial(CONSTANTS)


def of_rate(rate):
    return at_rate(ONE, rate)


def test_the_page_and_its_picture_are_what_the_script_makes_of_the_constants():
    constants = scale_constants.read_constants(scale_constants.MEASURED)
    page = scale.PAGE.read_text(encoding="utf-8")
    assert scale.filled(page, scale.parts(constants)) == page, MADE_ANEW
    assert scale_picture.PICTURE.read_text(encoding="utf-8") == scale.picture(constants), MADE_ANEW


def test_a_page_without_a_place_for_a_table_is_an_error():
    page = "a\n<!-- b -->\nold\n<!-- end of b -->\nc\n"
    assert scale.filled(page, {"b": "new"}) == "a\n<!-- b -->\n\nnew\n\n<!-- end of b -->\nc\n"
    for wrong in ("a\n", page + page, page.replace("end of b", "end of c")):
        with pytest.raises(SystemExit, match="must have one"):
            scale.filled(wrong, {"b": "new"})


def test_the_picture_can_be_read_without_being_seen():
    picture = ElementTree.fromstring(scale_picture.PICTURE.read_text(encoding="utf-8"))
    texts = {element.get("id"): element.text for element in picture if element.get("id")}
    assert picture.get("aria-labelledby").split() == list(texts) and all(texts.values())


def test_numbers_are_shown_in_the_digits_that_matter():
    cases = {0: "0", 0.000012: "0.00001", 0.0123: "0.0123", 1.999: "2", 16.66: "16.7", 100.4: "100", 123_456: "123,000", 12_345_678: "12.3 M", 2.5e12: "2.5 T"}
    assert {value: scale.shown(value) for value in cases} == cases


# What it is made of.


def test_every_constant_says_how_well_it_is_known_and_from_where():
    for name, constant in scale_constants.CONSTANTS.items():
        assert constant.value > 0 and constant.unit and constant.source, name
        assert constant.kind in ("measured", "code", "assumed"), name


def test_settings_are_those_of_the_reference():
    settings = scale_constants.read_settings()
    named = {name for limit in LIMITS for name in limit.settings}
    assert named <= set(settings)
    expected = {"pipeline.commit_interval": 1, "pipeline.batch_bytes_max": 32 << 20, "lake.commit_attempts_max": 64, "journal.kafka.retention": 7 * 86_400, "lake.file_retention": 86_400}
    assert {name: settings[name] for name in expected} == expected


def test_prices_are_those_of_the_costs():
    prices = scale_constants.read_prices()
    expected = {"m7i.xlarge": 0.2016, "kafka.t3.small": 0.0456, "S3: PUT, COPY, POST, LIST": 0.005, "S3: GET, HEAD": 0.0004, "MSK's disks": 0.10, "between zones": 0.01}
    assert {name: prices[name] for name in expected} == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"format": 2}',
        '{"format": 1, "values": {"no_such": 1}}',
        '{"format": 1, "values": {"put_ms": 0}}',
        '{"format": 1, "values": {"put_ms": true}}',
        '{"format": 1, "workers": {"3": 1}}',
        '{"format": 1, "wokers": {}}',
    ],
)
def test_a_file_of_constants_that_cannot_be_is_refused(tmp_path, text):
    file = tmp_path / "constants.json"
    file.write_text(text)
    with pytest.raises(SystemExit):
        scale_constants.read_constants(file)


def report(folder, error=None):
    """As `cargo xtask bench` leaves it: two rounds, in one of which the machine was slow."""

    def comparison(what, ours, theirs=()):
        return {"what": what, "unit": "", "beside": "", "ours": list(ours), "theirs": list(theirs), "met": None}

    scenarios = {
        "single-kafka": [comparison("events a second of CPU", [10_000, 20_000, 20_000], [1, 1, 1])],
        "storage": [comparison("bytes an event in Bronze", [90]), comparison("bytes an event in Silver", [80])],
        "history": [comparison("filters in memory, 100 M ids by time", [230, 230, 230])],
        "workers": [comparison("events a second to Silver by 2", [50_000, 58_000], [60_000, 62_000]), comparison("events a second to Silver by 4", [40_000, 44_000], [60_000, 62_000])],
        "silver": [],
    }
    text = {
        "version": 1, "what": "comparison", "began": "2026-11-23T10:00:00Z", "commit": "0a1b", "settings": {"rounds": 2, "seconds": 10, "events": 1_000_000}, "figures": {},
        "machine": {"cores": 4, "memory": "8 kB", "processor": "a processor", "kernel": "6.1"},
        "scenarios": [{"scenario": name, "seconds": 1.0, "error": error, "comparisons": comparisons} for name, comparisons in scenarios.items()],
    }  # fmt: skip
    (folder / "silver").mkdir()
    for number, (cpu, rate) in enumerate([(30, 50_000), (20, 100_000), (20, 100_000)], 1):
        run = {"figures": {"measured_cpu_seconds": cpu, "silver_events_per_second": rate}}
        (folder / f"silver/ours-{number}.json").write_text(json.dumps(run))
    (folder / "report.json").write_text(json.dumps(text))
    return folder / "report.json"


def test_a_report_takes_the_place_of_constants(tmp_path):
    found = scale_constants.of_report(report(tmp_path))
    expected = {"gate_single_cpu_us": 50, "bronze_bytes": 90, "silver_bytes": 80, "index_filter_bytes": 2.3, "worker_cpu_us": 20, "silver_wall_us": 10, "bronze_wall_us": 10, "local_cores": 4}
    assert {name: found.values[name] for name in found.measured} == expected
    assert found.workers == {1: 61_000, 2: 54_000, 4: 42_000}
    assert found.values["put_ms"] == CONSTANTS.values["put_ms"]
    file = tmp_path / "constants.json"
    file.write_text(scale_constants.written(found))
    assert scale_constants.read_constants(file) == found


def test_a_scenario_that_failed_says_nothing(tmp_path):
    found = scale_constants.of_report(report(tmp_path, error="Kafka ended"))
    assert not found.workers and "bronze_bytes" not in found.measured


def test_what_is_no_report_is_refused(tmp_path):
    (tmp_path / "report.json").write_text('{"what": "stages", "version": 1}')
    with pytest.raises(SystemExit, match="no report"):
        scale_constants.of_report(tmp_path / "report.json")


def test_one_command_fills_in_the_check(tmp_path, monkeypatch):
    page, picture, constants = (tmp_path / name for name in ("scale.md", "scale.svg", "constants.json"))
    page.write_text(scale.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(scale, "PAGE", page)
    monkeypatch.setattr(scale_picture, "PICTURE", picture)
    monkeypatch.setattr(sys, "argv", ["scale.py", "--report", str(report(tmp_path)), "--constants", str(constants), "--write"])
    scale.main()
    text = page.read_text(encoding="utf-8")
    check = text.split("<!-- check -->")[1].split("<!-- end of check -->")[0]
    assert scale.UNMEASURED not in check and "61,000" in check
    assert "measured 2026-11-23T10:00:00Z at commit 0a1b, on 4 cores (a processor)" in text
    assert picture.read_text(encoding="utf-8").startswith("<svg ")
    assert scale_constants.read_constants(constants).workers[4] == 42_000


# The model.


def test_a_step_is_due_by_time_and_then_by_what_it_takes():
    def takes(events):
        return 0.1 + events / 1_000

    calm = paced(100, 1, 5_000, takes)
    assert (calm.seconds, calm.events) == (1, 100) and calm.takes == pytest.approx(0.2)
    # It takes longer than its interval: it comes when the one before it is done, with more events.
    slow = paced(950, 1, 5_000, takes)
    assert 1 < slow.seconds == pytest.approx(slow.takes, rel=1e-3) and slow.busy < 1
    full = paced(960, 10, 5_000, takes)
    assert (full.events, full.seconds) == (5_000, pytest.approx(5_000 / 960))
    assert paced(2_000, 1, 5_000, takes).busy > 1
    rare = paced(0.01, 1, 5_000, takes)
    assert (rare.events, rare.seconds) == (1, 100)


def test_late_events_go_to_days_of_their_own():
    assert Load(1, 0, 7).days(1e6) == 1
    assert Load(1, 0.05, 363).days(1) == 1
    assert Load(1, 0.05, 363).days(1e6) == pytest.approx(364)
    few = Load(1, 0.05, 363).days(100)
    assert 5.9 < few < 6.0


def test_what_it_asks_of_s3_is_near_what_was_counted():
    small = ONE.changed(pipeline__commit_interval=60, pipeline__gold_interval=300, pipeline__ledger_interval=300)
    often = ONE.changed(pipeline__commit_interval=10, pipeline__gold_interval=60, pipeline__ledger_interval=60)
    # The sums of docs/costs.md, which takes the larger of two counts for each commit.
    assert small.request_dollars == pytest.approx(13.86, rel=0.2)
    assert often.request_dollars == pytest.approx(26.39, rel=0.2)
    assert ONE.request_dollars == pytest.approx(193.03, rel=0.1)


def test_what_grows_with_workers_and_what_does_not():
    one, two, four = (replace(of_rate(1_000), workers=count) for count in (1, 2, 4))
    assert four.bronze_commits == pytest.approx(4 * one.bronze_commits)
    # Each of four tries what three others made: requests of entries go with the square.
    entries = [state.puts - state.silver_commits * state.silver_files - state.bronze_commits for state in (one, two, four)]
    assert entries[2] - entries[1] > 2 * (entries[1] - entries[0])
    assert two.walk_seconds == pytest.approx(0.06) and one.walk_seconds == 0
    slow = of_rate(1_000).changed(pipeline__commit_interval=10)
    assert slow.bronze_commits == pytest.approx(one.bronze_commits / 10)
    assert slow.log_bytes_a_day < one.log_bytes_a_day / 5


def test_workers_are_as_few_as_bear_the_load():
    counts = [of_rate(rate).workers for rate in (1, 10_000, 60_000, 100_000)]
    assert counts == sorted(counts) and counts[0] == 1 and counts[-1] > 1
    assert all(of_rate(rate).busy <= CONSTANTS.busy_max for rate in (1, 10_000, 60_000))
    assert of_rate(1e6).busy > 1


def test_a_limit_is_passed_where_it_is_said_to_be():
    for limit in LIMITS:
        found = reached_at(limit, ONE)
        assert found is not None, limit.name
        rate, above = found
        assert (limit.use(of_rate(rate * 1.01)) > 1) is above, limit.name
        assert (limit.use(of_rate(rate * 0.99)) > 1) is not above, limit.name


def test_settings_are_moved_until_none_helps():
    state = of_rate(100)
    assert [limit.name for limit, _ in exceeded(state)]
    steps = list(moves(state))
    assert steps and not exceeded(steps[-1][1])
    far = list(moves(of_rate(1_000_000)))[-1][1]
    assert "a step of Silver of one worker" in [limit.name for limit, _ in exceeded(far)]
    for limit in LIMITS:
        for name in limit.settings:
            assert far.setting(name) <= ONE.setting(name) * max(other.most for other in LIMITS if name in other.settings)


def test_more_workers_on_the_same_cores_are_not_faster():
    state = replace(ONE, load=of_the_harness(CONSTANTS, 1))
    one, two, four = (rate_on_one_machine(replace(state, workers=count)) for count in (1, 2, 4))
    assert one > two > four > one / 4
    # With as many cores as one likes, it is the stages that count, and they are at least as fast.
    many = replace(state, constants=CONSTANTS.changed(local_cores=64), workers=2)
    assert rate_on_one_machine(many) > two


# The simulation.


def writers(workers, interval=1.0, attempts_max=64, seed=1):
    return Writers(workers, interval, attempts_max, 0.001, CONSTANTS, seed)


def test_the_same_seed_plays_the_same():
    assert play(writers(8)) == play(writers(8))
    assert play(writers(8)) != play(writers(8, seed=2))


def test_a_lone_writer_is_never_refused():
    outcome = play(writers(1))
    assert (outcome.attempts_per_commit, outcome.given_up_per_commit) == (1, 0)
    assert outcome.commits_per_second == pytest.approx(1, rel=0.02)
    assert 1 < outcome.delay_p99 < 1.5


@pytest.mark.parametrize("workers", [2, 8])
def test_each_commit_tries_what_the_others_made(workers):
    outcome = play(writers(workers))
    assert outcome.attempts_per_commit == pytest.approx(workers, rel=0.05)
    assert outcome.commits_per_second == pytest.approx(workers, rel=0.05)


def test_a_log_takes_no_more_than_one_entry_each_put_and_get():
    most = 1e3 / (CONSTANTS.put_ms + CONSTANTS.get_ms)
    crowded = play(writers(48))
    assert 0.6 * most < crowded.commits_per_second < 1.1 * most
    assert crowded.delay_p99 > play(writers(4)).delay_p99
    assert play(writers(48, interval=20)).commits_per_second == pytest.approx(48 / 20, rel=0.1)


def test_who_loses_too_often_begins_again_and_nothing_is_lost():
    outcome = play(writers(16, attempts_max=4))
    assert outcome.given_up_per_commit > 0.1 and outcome.commits_per_second > 1


def test_every_version_is_one_commit(monkeypatch):
    tables = []
    started = Table.run_until

    def watched(table, end):
        tables.append(table)
        before = table.newest
        started(table, end)
        # A commit is counted when its answer is there; those whose answers are on their way are the difference.
        assert abs((table.newest - before) - table.commits) <= table.writers.workers

    monkeypatch.setattr(Table, "run_until", watched)
    play(writers(16))
    assert len(tables) == 2
