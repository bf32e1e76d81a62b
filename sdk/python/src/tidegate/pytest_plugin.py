"""For pytest, which finds it by itself where the package is installed."""

from collections.abc import Iterator

import pytest

from tidegate.testing import Micro


@pytest.fixture
def tidegate_micro() -> Iterator[Micro]:
    """A gate in memory, fresh for each test."""
    with Micro() as micro:
        yield micro
