from __future__ import annotations

from tapeline.serving.servers.server import Server
from tests.faults import fuzz


def test_requests_that_are_made_up_have_no_internal_error(served: Server) -> None:
    """Briefly; make test-faults does it at length."""
    assert fuzz.fuzz(served, 80, 1) == []
