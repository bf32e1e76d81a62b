"""The platform behind a network that fails in every way: each event is in Silver once, or in a counter."""

import signal
import subprocess
import sys
import time

import pytest
import unruly
from test_client import balanced

import tidegate

DONE = 240.0


@pytest.fixture
def network(server):
    proxies = []

    def start(seed):
        proxies.append(unruly.start(server.url, seed))
        return f"http://127.0.0.1:{proxies[-1].server_port}"

    yield start
    for proxy in proxies:
        proxy.shutdown()
        proxy.server_close()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_event_is_in_silver_once_or_counted(server, network, tmp_path, seed, capfd):
    fates = {}
    spool = tmp_path / "spool" if seed == 2 else None
    client = tidegate.Client(server.key, url=network(seed), spool=spool, batch_events_max=30, queue_events_max=700, on_delivery=lambda told: fates.update({told.event_id: told}))
    for number in range(1_500):
        # Some that the gate refuses by name, and some that no client can send.
        if number % 50 == 7:
            client.track("conversion", {"n": number}, event_time="yesterday")
        elif number % 100 == 13:
            client.track("conversion", {"n": float("inf")})
        else:
            client.track("conversion", {"n": number}, user_id=f"u{number % 10}")
        if number % 300 == 0:
            time.sleep(0.2)
    assert client.close(DONE)
    stats = balanced(client)
    assert stats.pending == 0 and stats.tracked == 1_500
    assert stats.rejected_by.keys() == {"invalid_time"} and stats.dropped_by["invalid"] == 15
    plans = set(capfd.readouterr().out.split())
    assert plans >= set(unruly.PLANS) - {"slow"} and stats.retries > 5, "the network was too good to show anything"
    delivered = {event_id for event_id, told in fates.items() if told.outcome == "delivered"}
    assert len(delivered) == stats.delivered
    rows = server.silver(stats.delivered)
    assert rows.keys() == delivered
    # Every refusal is a dead letter, however often it was refused.
    refused = server.query("SELECT count(DISTINCT event_id) AS n FROM dead_letters WHERE code = 'invalid_time'")
    assert refused == [{"n": sum(stats.rejected_by.values())}]


APPLICATION = """
import sys, time, tidegate
client = tidegate.Client(sys.argv[1], url=sys.argv[2], spool=sys.argv[3], batch_events_max=40, batch_seconds=0.1)
while True:
    ids = [client.track("conversion", {"n": number}, user_id="u") for number in range(20)]
    if client.sync(10):
        print(*ids, flush=True)
    time.sleep(0.01)
"""


def test_an_application_that_is_killed_again_and_again_loses_nothing_that_was_on_disk(server, network, tmp_path):
    spool, synced = tmp_path / "spool", []
    for life in range(4):
        application = subprocess.Popen([sys.executable, "-c", APPLICATION, server.key, network(life), str(spool)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        synced += application.stdout.readline().split()
        time.sleep(1.0 + life * 0.3)
        application.kill()
        synced += application.stdout.read().split()
        assert application.wait() == -signal.SIGKILL, "it had ended before it was killed"
    # A line that was being printed may be cut.
    synced = [event_id for event_id in synced if len(event_id) == 36]
    assert len(synced) > 400
    with tidegate.Client(server.key, url=server.url, spool=spool) as client:
        deadline = time.monotonic() + DONE
        while any(spool.rglob("*.ndjson")):
            assert time.monotonic() < deadline, client.stats()
            time.sleep(0.1)
    assert list(spool.iterdir()) == []
    while missing := set(synced) - {row["event_id"] for row in server.query("SELECT event_id FROM silver.events")}:
        assert time.monotonic() < deadline, f"{len(missing)} of {len(synced)} are missing"
        time.sleep(0.2)
    counted = server.query("SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM silver.events")
    assert counted[0]["n"] == counted[0]["ids"] >= len(set(synced))


@pytest.mark.parametrize("events", [1, 200])
def test_signed_requests_are_taken_where_the_key_asks_for_them(server, events):
    """200 events are packed."""
    key, secret = server.command("source", "add", "billing", "--signed").split()

    def send(secret):
        client = tidegate.Client(key, url=server.url, signing_secret=secret)
        for number in range(events):
            client.track("conversion", {"n": number, "text": "long enough to be worth packing"})
        assert client.close(DONE)
        return balanced(client)

    assert send(secret).delivered == events
    assert send(None).rejected_by == {"missing_signature": events}
    assert send("tgs_of_nobody").rejected_by == {"invalid_signature": events}
    server.silver(events)
    # Whose they were nobody knows, so they are nobody's dead letters.
    assert server.query("SELECT count(*) AS n FROM dead_letters") == [{"n": 0}]
    with pytest.raises(ValueError, match="--signed"):
        tidegate.Client(key, signing_secret="")
