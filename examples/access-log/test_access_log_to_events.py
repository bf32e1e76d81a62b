"""`python3 -m unittest` in this folder, or `cargo xtask test python`."""

import gzip
import io
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from access_log_to_events import events, log_time, unescape, unpacked

SCRIPT = Path(__file__).with_name("access_log_to_events.py")
AGENT = "Mozilla/5.0 (X11; Linux x86_64)"
COMBINED = f'203.0.113.7 - - [17/May/2015:10:05:03 +0200] "GET /a/b?q=1&r HTTP/1.1" 200 512 "https://example.org/x" "{AGENT}"'


def one(line, site=""):
    (event,) = events([line.encode() if isinstance(line, str) else line], "log", site)
    return event


class Lines(unittest.TestCase):
    def test_a_request_becomes_a_page_view(self):
        event = one(COMBINED, "https://www.example.com")
        self.assertEqual((event["event_id"], event["event_type"]), ("log:1", "page_view"))
        self.assertEqual(event["event_time"], "2015-05-17T10:05:03+02:00")
        self.assertEqual(
            event["properties"],
            {
                "url": "https://www.example.com/a/b?q=1&r",
                "path": "/a/b",
                "search": "?q=1&r",
                "referrer": "https://example.org/x",
                "method": "GET",
                "status": 200,
                "bytes": 512,
                "protocol": "HTTP/1.1",
            },
        )
        self.assertEqual((event["context"]["ip"], event["context"]["userAgent"]), ("203.0.113.7", AGENT))
        self.assertNotIn("user_id", event)

    def test_what_the_log_does_not_know_is_absent(self):
        event = one('::1 - - [17/May/2015:10:05:03 +0000] "HEAD / HTTP/1.0" 304 - "-" "-"')
        self.assertEqual(event["properties"], {"url": "/", "path": "/", "method": "HEAD", "status": 304, "protocol": "HTTP/1.0"})
        self.assertEqual(event["context"]["userAgent"], "-")

    def test_forms_of_lines(self):
        at = "[17/May/2015:10:05:03 +0000]"
        for line, expect in [
            (f'h - - {at} "GET / HTTP/1.1" 200 5', "page_view"),
            (f'h - ada {at} "GET / HTTP/1.1" 200 5 "-" "a"', "page_view"),
            (f'h - - {at} "GET /" 200 5 "-" "a"', "page_view"),
            (f'h - - {at} "GET /a b HTTP/1.1" 200 5 "-" "a"', "page_view"),
            (f'h - - {at} "GET / HTTP/1.1" 200 5 "-" "a" 0.004 "more"', "page_view"),
            (f'h - - {at} "GET / HTTP/2" 200 5 "-" "say \\"hi\\""', "page_view"),
            (f'h - - {at} "-" 408 0 "-" "-"', "unparsed_log_line"),
            (f'h - - {at} "\\x16\\x03\\x01" 400 226 "-" "-"', "unparsed_log_line"),
            (f'h - - {at} "GET / HTTP/1.1" 200 5 "-" "cut', "page_view"),
            (f'h - - {at} "GET / HTTP/1.1" 200 5 "cut', "unparsed_log_line"),
            (f'h - - {at} "GET /cut', "unparsed_log_line"),
            ('h - - [31/Feb/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "a"', "unparsed_log_line"),
            (f'www.example.com:443 h - - {at} "GET / HTTP/1.1" 200 5 "-" "a"', "unparsed_log_line"),
            ("nonsense", "unparsed_log_line"),
        ]:
            with self.subTest(line):
                event = one(line)
                self.assertEqual(event["event_type"], expect)
                if expect == "unparsed_log_line":
                    self.assertEqual(event["properties"], {"line": line})

    def test_a_user_agent_that_was_cut_is_taken_as_far_as_it_goes(self):
        for end in ['"', "", "\\"]:
            self.assertEqual(one(COMBINED[:-1] + end)["context"]["userAgent"], AGENT)

    def test_visitors_are_told_apart_by_address_and_agent(self):
        ids = {one(COMBINED)["anonymous_id"], one(COMBINED.replace(".7 ", ".8 "))["anonymous_id"], one(COMBINED.replace("X11", "X"))["anonymous_id"]}
        self.assertEqual(len(ids), 3)
        self.assertEqual(one(COMBINED)["anonymous_id"], one(COMBINED.replace("/a/b", "/c"))["anonymous_id"])

    def test_numbers_are_those_of_the_lines(self):
        ids = [event["event_id"] for event in events([b"one\n", b"\n", b" \r\n", b"two\n"], "log")]
        self.assertEqual(ids, ["log:1", "log:4"])

    def test_escapes_and_bytes(self):
        self.assertEqual(unescape(r"caf\xc3\xa9 \"q\" \\ \x22"), 'café "q" \\ "')
        self.assertEqual(unescape(r"\xff"), r"\xff")
        self.assertEqual(one(b"caf\xe9")["properties"]["line"], r"caf\xe9")

    def test_times(self):
        self.assertEqual(log_time("01/Dec/2024:23:59:59 -0730"), "2024-12-01T23:59:59-07:30")
        for text in ["1/Dec/2024:23:59:59 +0000", "01/Dez/2024:23:59:59 +0000", "01/Dec/2024:24:00:00 +0000", "01/Dec/2024:23:59:59 +9900"]:
            self.assertIsNone(log_time(text), text)


class Files(unittest.TestCase):
    def run_script(self, *arguments, stdin=b""):
        done = subprocess.run([sys.executable, SCRIPT, *arguments], input=stdin, capture_output=True, timeout=60)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()

    def test_plain_packed_and_piped_give_the_same_events(self):
        lines = f"{COMBINED}\nnonsense\n".encode()
        with tempfile.TemporaryDirectory() as folder:
            plain, packed = Path(folder, "access.log"), Path(folder, "access.log.gz")
            plain.write_bytes(lines)
            packed.write_bytes(gzip.compress(lines))
            code, expect, said = self.run_script(plain)
            self.assertEqual((code, [event["event_id"] for event in expect]), (0, ["access.log:1", "access.log:2"]))
            self.assertIn("2 events, 1 page views, 1 lines that could not be read", said)
            self.assertEqual(self.run_script(packed)[1], expect)
            self.assertEqual(self.run_script("--name", "access.log", stdin=lines)[1], expect)
            self.assertEqual(self.run_script("-", "--name", "access.log", stdin=gzip.compress(lines))[1], expect)
            code, _, said = self.run_script(plain, packed)
            self.assertEqual(code, 2)
            self.assertIn("same ids", said)

    def test_a_log_that_breaks_off_is_a_failure(self):
        with tempfile.TemporaryDirectory() as folder:
            broken = Path(folder, "broken.gz")
            broken.write_bytes(gzip.compress(f"{COMBINED}\n".encode() * 9)[:-12])
            self.assertEqual(self.run_script(broken)[0], 1)
        self.assertEqual(self.run_script()[0], 2)
        self.assertEqual(self.run_script("does-not-exist.log")[0], 1)

    def test_short_streams_are_read(self):
        for content in [b"", b"x"]:
            self.assertEqual(unpacked(io.BytesIO(content)).read(), content)


if __name__ == "__main__":
    unittest.main()
