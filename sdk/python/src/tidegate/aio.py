"""For asyncio."""

import asyncio
from types import TracebackType
from typing import Any

from tidegate.client import Client


class AsyncClient(Client):
    """As `Client`; what waits is awaited. The calls themselves never wait, so they are not."""

    def __init__(self, write_key: str, **settings: Any) -> None:
        if settings.get("when_full") == "block":
            raise ValueError('when_full="block" would stop the event loop; use "drop_newest" or "drop_oldest", and a spool for what must not be dropped')
        super().__init__(write_key, **settings)

    async def flush(self, timeout: float = 10.0) -> bool:  # type: ignore[override]
        return await asyncio.to_thread(super().flush, timeout)

    async def sync(self, timeout: float = 10.0) -> bool:  # type: ignore[override]
        return await asyncio.to_thread(super().sync, timeout)

    async def aclose(self, timeout: float = 10.0) -> bool:
        """As `close`, which may be called too, where waiting does no harm."""
        return await asyncio.to_thread(super().close, timeout)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()
