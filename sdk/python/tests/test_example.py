"""The shop in examples/, with a browser's requests, against a gate in memory."""

import importlib.util
import sys
from pathlib import Path

from fastapi.testclient import TestClient

SHOP = Path(__file__).parents[3] / "examples/fastapi-shop/shop.py"


def test_the_shop(tidegate_micro, tmp_path, monkeypatch):
    monkeypatch.setenv("TIDEGATE_URL", tidegate_micro.url)
    monkeypatch.setenv("TIDEGATE_SPOOL", str(tmp_path))
    specification = importlib.util.spec_from_file_location("shop", SHOP)
    shop = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "shop", shop)
    specification.loader.exec_module(shop)
    with TestClient(shop.app, base_url="https://shop.example") as browser:
        browser.headers.update({"user-agent": "UA/1", "accept-language": "de-DE,de;q=0.9"})
        page = browser.get("/")
        assert page.status_code == 200 and ("Buy" in page.text or "Yes" in page.text)
        assert browser.get("/").status_code == 200
        number = browser.post("/orders", data={"quantity": "2"}).json()["order"]
        assert browser.post("/orders", data={"quantity": "1000"}).status_code == 422
        visitor = browser.cookies["visitor"]
    # The shop has ended, and with it the client.
    assert tidegate_micro.bad() == [] and list(tmp_path.iterdir()) == []
    good = tidegate_micro.good()
    assert [event["event_type"] for event in good] == ["page_view", "feature_exposure", "page_view", "conversion"]
    assert {event["anonymous_id"] for event in good} == {visitor}
    [order] = tidegate_micro.good("conversion")
    assert (order["event_id"], order["name"], order["properties"]) == (f"order-{number}", "purchase", {"value": 25.0, "currency": "EUR", "quantity": 2})
    assert (order["context"]["locale"], order["context"]["userAgent"]) == ("de-DE", "UA/1")
