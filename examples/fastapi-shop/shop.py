"""A shop with one product and an A/B test of its button, which tells Tidegate what happens in it.

    pip install fastapi uvicorn ../../sdk/python
    TIDEGATE_KEY=… uvicorn shop:app
"""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import tidegate
from fastapi import Cookie, FastAPI, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from tidegate.middleware import TidegateASGI

events = tidegate.AsyncClient(
    os.environ.get("TIDEGATE_KEY", "no key"),
    url=os.environ.get("TIDEGATE_URL", "http://127.0.0.1:8099"),
    # What is on disk survives a crash of the shop.
    spool=os.environ.get("TIDEGATE_SPOOL"),
    experiments=[{"id": "buy-button", "variations": ["control", "friendly"], "subject": "anonymous_id"}],
)
BUTTONS = {"control": "Buy", "friendly": "Yes, I want it"}
PRICE = 12.5


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await events.aclose()


app = FastAPI(lifespan=lifespan)
# Address, browser, page and language of each request go into the events that are made while it is answered.
app.add_middleware(TidegateASGI)


@app.get("/", response_class=HTMLResponse)
async def page(request: Request, response: Response, visitor: Annotated[str | None, Cookie()] = None) -> str:
    anonymous_id = visitor or str(uuid.uuid4())
    response.set_cookie("visitor", anonymous_id, max_age=365 * 24 * 3600, httponly=True, samesite="lax")
    with tidegate.scope(anonymous_id=anonymous_id):
        events.page_view(str(request.url), title="Mugs")
        # Assigned here, without a request; that it was seen is sent by itself.
        button = BUTTONS[events.variation("buy-button", "control") or "control"]
    return f'<title>Mugs</title><h1>A mug, {PRICE} €</h1><form method="post" action="/orders"><input name="quantity" value="1"><button>{button}</button></form>'


@app.post("/orders")
async def order(quantity: Annotated[int, Form()], visitor: Annotated[str | None, Cookie()] = None) -> dict[str, str]:
    if not 0 < quantity <= 100:
        raise HTTPException(422, "between 1 and 100, please")
    number = str(uuid.uuid4())
    # The order's own number as the id: if the browser sends the form twice, that is another order; if the shop tells of one twice, it counts once.
    events.conversion("purchase", value=quantity * PRICE, currency="EUR", properties={"quantity": quantity}, anonymous_id=visitor, event_id=f"order-{number}")
    return {"order": number}
