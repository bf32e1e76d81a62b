"""What measures the memory of the small machine takes its bounds from the units, and so measures what is installed. The measuring itself is run on request."""

import shutil

import pytest

from memory_budget import MIB, PLACES, bounds, in_bytes
from templates import ROOT


@pytest.mark.parametrize(("text", "expected"), [("420M", 420 * MIB), ("52%", 488 * MIB), ("2G", 2048 * MIB)])
def test_bounds_are_read(text, expected):
    assert in_bytes(text, 940 * MIB) // MIB == expected // MIB


def test_the_bounds_are_those_of_the_units(tmp_path):
    for source, target in PLACES.items():
        (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, tmp_path / target)
    kafka, tidegate = (bounds(tmp_path, f"{name}.service", 940 * MIB) for name in ("kafka", "tidegate"))
    assert (kafka.high // MIB, kafka.most // MIB) == (360, 420)
    # The drop-in of the small machine, and not what the unit says by itself.
    assert (tidegate.high // MIB, tidegate.most // MIB) == (423, 488)
    assert kafka.most + tidegate.most < 940 * MIB
