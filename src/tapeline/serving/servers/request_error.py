"""The error of a request that the server cannot answer."""

from __future__ import annotations

from typing import Any


class RequestError(Exception):
    """The server cannot answer a request; `code` is the name of a gRPC status code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return RequestError, (self.code, self.message)
