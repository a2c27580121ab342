"""The error of a request that the server cannot answer."""

from __future__ import annotations

import asyncio
from typing import Any

WRONG_SECONDS = 0.02
"""Before a wrong request is refused: a client that sends one after the other must not keep the event loop busy."""


class RequestError(Exception):
    """The server cannot answer a request; `code` is the name of a gRPC status code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    async def wait(self) -> None:
        """Let other requests go first, where the error is in the request itself."""
        if self.code == "INVALID_ARGUMENT":
            await asyncio.sleep(WRONG_SECONDS)

    def __reduce__(self) -> tuple[Any, ...]:
        return RequestError, (self.code, self.message)
