#!/usr/bin/env python3
"""Turns web server logs (Apache and nginx, combined or common format) into events, one JSON object a line, for `tidegate send`.

Each line of a log becomes one event, whose id is the log's name and the line's number: the same log sent again adds nothing. A line that cannot be
read as a request becomes an `unparsed_log_line` with its text, so nothing is lost on the way. What was done is said on standard error.

It needs nothing but Python 3.8, never contacts anything, and holds one line in memory at a time.
"""

import argparse
import gzip
import hashlib
import io
import json
import re
import signal
import sys
import zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path

GZIP_MAGIC = b"\x1f\x8b"
EVENT_ID_CHARS_MAX = 100
LINE_DIGITS_MAX = 12
LIBRARY = {"name": "access_log_to_events"}

MONTHS = {name: number for number, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1)}
QUOTED = r'"((?:[^"\\]|\\.)*)"'
# The user agent comes last and may be long: some servers cut it, and its closing quote with it.
CUT = r'"((?:[^"\\]|\\.)*)\\?'
LINE = re.compile(rf"(\S+) (\S+) (\S+) \[([^\]]*)\] {QUOTED} (\d{{3}}) (\d{{1,18}}|-)(?: {QUOTED} (?:{QUOTED}(?: .*)?|{CUT}))?")
TIME = re.compile(r"(\d{2})/([A-Z][a-z]{2})/(\d{4}):(\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})")
REQUEST = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S.*?)(?: (HTTP/\d(?:\.\d)?))?")
ESCAPE = re.compile(r'\\(?:x([0-9a-fA-F]{2})|(["\\bnrtv]))')
ESCAPED = {'"': '"', "\\": "\\", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def unescape(text):
    """What the server had before it wrote it in quotes. Bytes that are no UTF-8 stay as the log has them."""
    if "\\" not in text:
        return text
    raw = bytearray()
    at = 0
    for found in ESCAPE.finditer(text):
        raw += text[at : found.start()].encode()
        raw += bytes.fromhex(found[1]) if found[1] else ESCAPED[found[2]].encode()
        at = found.end()
    raw += text[at:].encode()
    return raw.decode("utf-8", errors="backslashreplace")


def log_time(text):
    """ISO 8601 with the log's own offset; None where there is no such moment."""
    found = TIME.fullmatch(text)
    if not found or found[2] not in MONTHS:
        return None
    day, year, hour, minute, second = (int(found[group]) for group in (1, 3, 4, 5, 6))
    offset = timedelta(hours=int(found[8]), minutes=int(found[9]))
    try:
        zone = timezone(-offset if found[7] == "-" else offset)
        return datetime(year, MONTHS[found[2]], day, hour, minute, second, tzinfo=zone).isoformat()
    except ValueError:
        return None


def some(text):
    """The text, unless the log says that there was none."""
    return None if text in (None, "", "-") else unescape(text)


def present(**fields):
    return {name: value for name, value in fields.items() if value is not None}


def page_view(line, site):
    """The event of a line, without its id; None where the line cannot be read as a request."""
    found = LINE.fullmatch(line)
    if not found:
        return None
    address, _, user, time, request, status, size, referrer, whole_agent, cut_agent = found.groups()
    event_time = log_time(time)
    request = REQUEST.fullmatch(unescape(request))
    if not event_time or not request:
        return None
    method, target, protocol = request.groups()
    path, mark, query = target.partition("?")
    # An event without one would be taken for one of the program that sends it.
    user_agent = some(whole_agent or cut_agent) or "-"
    visitor = hashlib.sha256(f"{address}\0{user_agent}".encode()).hexdigest()
    return present(
        event_type="page_view",
        event_time=event_time,
        user_id=some(user),
        anonymous_id=visitor[:32],
        properties=present(
            url=site + target if target.startswith("/") else target,
            path=path,
            search=mark + query if mark else None,
            referrer=some(referrer),
            method=method,
            status=int(status),
            bytes=None if size == "-" else int(size),
            protocol=protocol,
        ),
        context={"ip": address, "userAgent": user_agent, "library": LIBRARY},
    )


def unparsed(line):
    return {"event_type": "unparsed_log_line", "properties": {"line": line}, "context": {"library": LIBRARY}}


def events(lines, name, site=""):
    """The events of a log's lines (as bytes), in their order. An empty line is none."""
    for number, raw in enumerate(lines, start=1):
        line = raw.rstrip(b"\r\n").decode("utf-8", errors="backslashreplace")
        if line.strip():
            yield {"event_id": f"{name}:{number}", **(page_view(line, site) or unparsed(line))}


def unpacked(stream):
    """The stream, unpacked if it is gzip: what it begins with decides, not its name."""
    stream = stream if hasattr(stream, "peek") else io.BufferedReader(stream)
    return gzip.GzipFile(fileobj=stream) if stream.peek(2)[:2] == GZIP_MAGIC else stream


def convert(stream, name, site, out):
    counts = {"page_view": 0, "unparsed_log_line": 0}
    try:
        for event in events(unpacked(stream), name, site):
            counts[event["event_type"]] += 1
            out.write(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n")
    finally:
        views, rest = counts.values()
        print(f"{name}: {views + rest} events, {views} page views, {rest} lines that could not be read, sent as unparsed_log_line", file=sys.stderr)


def log_name(path):
    """The file's name without the ending of its packing, so that packing a log changes no id."""
    return path.name[: -len(".gz")] if path.name.endswith(".gz") else path.name


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", metavar="FILE", nargs="*", help="logs, plain or gzip; `-` or none is standard input")
    parser.add_argument("--name", help="the log's name in the ids, for one log; else the file's name without .gz")
    parser.add_argument("--site", default="", help="such as https://www.example.com, put before each path to make the url")
    given = parser.parse_args()
    files = [None if file == "-" else Path(file) for file in given.files or ["-"]]
    if given.name and len(files) > 1:
        parser.error("--name is for one log; give each file a name of its own and leave --name out")
    if None in files and not given.name:
        parser.error("standard input has no name; give one with --name")
    named = [(file, given.name or log_name(file)) for file in files]
    names = [name for _, name in named]
    for name in names:
        if names.count(name) > 1:
            parser.error(f"two logs have the name {name!r}, so their lines would have the same ids; send them one by one with --name")
        if len(name) > EVENT_ID_CHARS_MAX - 1 - LINE_DIGITS_MAX:
            parser.error(f"the name {name!r} is too long for an event's id; give a shorter one with --name")
    return named, given.site.rstrip("/")


def main():
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # ends quietly where what it is piped into ends
    named, site = arguments()
    out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="\n")
    try:
        for file, name in named:
            if file is None:
                convert(sys.stdin.buffer, name, site, out)
            else:
                with file.open("rb") as stream:
                    convert(stream, name, site, out)
    except (OSError, EOFError, zlib.error) as error:
        out.flush()
        sys.exit(f"{name}: {error}; what came before it was written")
    out.flush()


if __name__ == "__main__":
    main()
