import pytest
from gate import Gate
from server import Server


@pytest.fixture
def gate():
    """A gate that answers what a test wants."""
    running = Gate()
    yield running
    running.stop()


@pytest.fixture
def server(tmp_path):
    """The platform."""
    folder = tmp_path / "platform"
    folder.mkdir()
    running = Server(folder)
    yield running
    running.stop()
