"""Somebody who follows README.md has an event of their own in Silver within ten minutes, besides compiling."""

import os
from pathlib import Path

import newcomer


def test_ten_minutes_are_enough_besides_compiling(tmp_path):
    steps = newcomer.walk(Path(os.environ["TIDEGATE_BIN"]), tmp_path)
    print(newcomer.table(steps))
    assert newcomer.SEEN in newcomer.README.read_text(encoding="utf-8") and len(steps) >= 4
    assert newcomer.total_minutes(steps) < newcomer.MINUTES_MAX


def test_links_are_not_read_as_words():
    assert newcomer.words("two [words](https://example.com/a/b/c)") == 2
