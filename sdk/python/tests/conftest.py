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
def settings():
    """What the platform is told by its environment: nothing, unless a test says otherwise."""
    return {}


@pytest.fixture
def server(tmp_path, settings):
    """The platform."""
    folder = tmp_path / "platform"
    folder.mkdir()
    running = Server(folder, settings=settings)
    yield running
    running.stop()
