"""Sends events to Tidegate.

    import tidegate

    client = tidegate.Client("WRITE_KEY", url="https://events.example.com")
    client.track("signup", {"tier": "free"}, user_id="u1")
"""

from tidegate.aio import AsyncClient
from tidegate.client import Client
from tidegate.experiments import Experiment
from tidegate.scope import scope
from tidegate.stats import Delivery, Stats
from tidegate.version import VERSION as __version__

__all__ = ["AsyncClient", "Client", "Delivery", "Experiment", "Stats", "__version__", "scope"]
