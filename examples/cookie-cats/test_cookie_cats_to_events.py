"""`python3 -m unittest` in this folder, or `cargo xtask test python`."""

import gzip
import json
import subprocess
import sys
import tempfile
import unittest
from datetime import datetime, timezone
from pathlib import Path

from cookie_cats_to_events import Unreadable, events

SCRIPT = Path(__file__).with_name("cookie_cats_to_events.py")
START = datetime(2026, 11, 1, tzinfo=timezone.utc)
HEADER = "userid,version,sum_game_rounds,retention_1,retention_7"


class Rows(unittest.TestCase):
    def test_a_player_is_exposed_and_converts_where_the_data_says_so(self):
        made = list(events([HEADER, "116,gate_30,3,False,False", "337,gate_40,38,True,True"], START))
        self.assertEqual(
            [(event["event_id"], event["event_type"], event["event_time"]) for event in made],
            [
                ("cookie_cats:116:exposure", "feature_exposure", "2026-11-01T00:00:00+00:00"),
                ("cookie_cats:337:exposure", "feature_exposure", "2026-11-01T00:00:00+00:00"),
                ("cookie_cats:337:day_1_retention", "conversion", "2026-11-02T00:00:00+00:00"),
                ("cookie_cats:337:day_7_retention", "conversion", "2026-11-08T00:00:00+00:00"),
            ],
        )
        self.assertEqual(made[1]["properties"], {"experiment_id": "cookie_cats", "variation_id": "gate_40"})
        self.assertEqual((made[2]["user_id"], made[2]["properties"]), ("337", {"goal": "day_1_retention"}))

    def test_what_is_not_the_data_set_is_refused_with_its_place(self):
        for lines, place in [
            ([], "line 1"),
            (["a,b"], "line 1"),
            ([HEADER, "1,gate_30,3,False,maybe"], "line 2"),
            ([HEADER, "1,gate_30,3,True,True", "2,gate_30,3"], "line 3"),
            ([HEADER, ",gate_30,3,False,False"], "line 2"),
        ]:
            with self.subTest(lines), self.assertRaisesRegex(Unreadable, place):
                list(events(lines, START))


class Files(unittest.TestCase):
    def test_plain_and_packed_give_the_same_events(self):
        text = f"{HEADER}\n1,gate_30,3,True,False\n".encode()
        with tempfile.TemporaryDirectory() as folder:
            plain, packed = Path(folder, "cats.csv"), Path(folder, "cats.csv.gz")
            plain.write_bytes(text)
            packed.write_bytes(gzip.compress(text))
            made = []
            for file in [plain, packed]:
                done = subprocess.run([sys.executable, SCRIPT, file, "--start", "2026-11-01T00:00:00Z"], capture_output=True, text=True, timeout=60)
                self.assertEqual((done.returncode, done.stderr), (0, "1 exposure, 1 day_1_retention\n"))
                made.append([json.loads(line)["event_id"] for line in done.stdout.splitlines()])
            self.assertEqual(made, [["cookie_cats:1:exposure", "cookie_cats:1:day_1_retention"]] * 2)
            for start in ["2026-11-01T00:00:00", "yesterday"]:
                self.assertEqual(subprocess.run([sys.executable, SCRIPT, plain, "--start", start], capture_output=True, timeout=60).returncode, 2)


if __name__ == "__main__":
    unittest.main()
