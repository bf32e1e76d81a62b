"""The ingestion API as one would write it in Python today: FastAPI, pydantic, aiokafka. What Tidegate's gate on Kafka is measured beside.

It promises what the gate promises: success only once all in-sync replicas of Kafka have every event of the request. Beyond that it does less: no tracking
plan, no dead letters, no limits, no spool.

    PEER_BROKERS=127.0.0.1:9092 PEER_TOPIC=events uvicorn app:app --workers 2 --loop uvloop --http httptools --no-access-log
"""

import asyncio
import hmac
import os
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from fastapi import FastAPI, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

BROKERS = os.environ["PEER_BROKERS"]
TOPIC = os.environ["PEER_TOPIC"]
KEY = os.environ.get("PEER_KEY", "")
AUTHORIZATION = b"Basic " + b64encode(f"{KEY}:".encode())

Name = Annotated[str, Field(min_length=1, max_length=100)]
Identity = Annotated[str, Field(max_length=256)]


class Event(BaseModel):
    """An event in Tidegate's native shape."""

    model_config = ConfigDict(extra="forbid")

    event_id: Name
    event_type: Name
    name: Identity | None = None
    event_time: AwareDatetime | None = None
    sent_at: AwareDatetime | None = None
    user_id: Identity | None = None
    anonymous_id: Identity | None = None
    session_id: Identity | None = None
    properties: dict[str, Any] = {}
    context: dict[str, Any] = {}


One, Many = TypeAdapter(Event), TypeAdapter(list[Event])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    producer = AIOKafkaProducer(
        bootstrap_servers=BROKERS,
        # As the gate's: all in-sync replicas, no copies by retries, the same compression, and as much time and room for company.
        acks="all",
        enable_idempotence=True,
        compression_type="lz4",
        linger_ms=2,
        max_batch_size=1_000_000,
        max_request_size=2 * 1024 * 1024,
    )
    await producer.start()
    app.state.producer = producer
    yield
    await producer.stop()


app = FastAPI(lifespan=lifespan, openapi_url=None)


@app.post("/v1/events")
async def ingest(request: Request) -> Response:
    """One event, an array of them, or lines of them; the answer names those that are not taken."""
    if not hmac.compare_digest(request.headers.get("authorization", "").encode(), AUTHORIZATION):
        return answer(401, {"success": False, "code": "unauthorized", "message": "the write key is not known"})
    body = await request.body()
    accepted, rejected = take_apart(body)
    try:
        await append(request.app.state.producer, accepted)
    except KafkaError as error:
        return answer(503, {"success": False, "code": "unavailable", "message": str(error)}, {"Retry-After": "1"})
    if not rejected:
        return Response(b'{"success":true,"accepted":%d,"rejected":[]}' % len(accepted), media_type="application/json")
    return answer(200 if accepted else 400, {"success": bool(accepted), "accepted": len(accepted), "rejected": rejected})


@app.get("/readyz")
async def ready() -> Response:
    return Response(b"ready")


async def append(producer: AIOKafkaProducer, events: list[tuple[str, bytes]]) -> None:
    """Returns when Kafka has acknowledged every one of them."""
    if len(events) == 1:
        [(event_id, payload)] = events
        await producer.send_and_wait(TOPIC, payload, event_id.encode())
        return
    acknowledged = [await producer.send(TOPIC, payload, event_id.encode()) for event_id, payload in events]
    await asyncio.gather(*acknowledged)


def take_apart(body: bytes) -> tuple[list[tuple[str, bytes]], list[dict[str, Any]]]:
    """The events that are sound, with the bytes they are kept as, and what is wrong with the others."""
    body = body.strip()
    if body.startswith(b"["):
        try:
            # The quick way: parsed and validated in one go, outside of Python.
            return [(event.event_id, One.dump_json(event, exclude_unset=True)) for event in Many.validate_json(body)], []
        except ValidationError:
            return one_by_one(body)
    accepted, rejected = [], []
    for index, line in enumerate(line for line in body.split(b"\n") if line):
        try:
            # The bytes as they came: nothing has to be written anew.
            accepted.append((One.validate_json(line).event_id, line))
        except ValidationError as error:
            rejected.append(refused(index, error))
    return accepted, rejected


def one_by_one(body: bytes) -> tuple[list[tuple[str, bytes]], list[dict[str, Any]]]:
    """An array in which something is wrong."""
    try:
        values = from_json(body)
    except ValueError as error:
        return [], [{"index": 0, "code": "invalid_json", "field": "", "message": str(error)}]
    accepted, rejected = [], []
    for index, value in enumerate(values):
        try:
            event = One.validate_python(value)
            accepted.append((event.event_id, One.dump_json(event, exclude_unset=True)))
        except ValidationError as error:
            rejected.append(refused(index, error))
    return accepted, rejected


def refused(index: int, error: ValidationError) -> dict[str, Any]:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = "".join(f"/{part}" for part in first["loc"])
    return {"index": index, "code": first["type"], "field": field, "message": first["msg"]}


def answer(status: int, content: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(to_json(content), status, headers, "application/json")
