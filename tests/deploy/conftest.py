import os
from unittest import mock

import pytest
from moto import mock_aws

from templates import REGION, Stack


@pytest.fixture(scope="session", autouse=True)
def account():
    """Nobody's account, in memory; whatever keys there are stay out of it."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}
    away = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with mock.patch.dict(os.environ, away | keys, clear=True), mock_aws():
        yield


@pytest.fixture(scope="session")
def small(account):
    return Stack("free-tier")


@pytest.fixture(scope="session")
def production(account):
    return Stack("production")


@pytest.fixture(scope="session")
def tables(account):
    return Stack("tables")
