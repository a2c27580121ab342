"""The few endpoints of Kubeflow Pipelines' v2beta1 API that a run needs, on loopback, in its own models."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api as api

RUN, BEGUN = "6b1c8f2e-0d3a-4f57-9f0b-2f7c5d1e9a34", datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass
class Backend:
    """What it knows, and what it was asked."""

    looks: list[tuple[str, dict[str, str]]]
    """What each look at the run shows: its state, and its tasks' by name; the last one stays."""
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """What it hands out, by node and artifact."""
    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    """Other answers than its own, by a part of the path; each once."""
    multi_user: bool = False
    address: str = ""
    experiments: list[api.V2beta1Experiment] = field(default_factory=list)
    created: list[api.V2beta1Run] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        """Status and content."""
        for part, answers in self.answers.items():
            if part in path and answers:
                return answers.pop(0)
        what = path.removeprefix("/apis/v2beta1/")
        if what == "healthz":
            return 200, api.V2beta1GetHealthzResponse(multi_user=self.multi_user)
        if what == "experiments":
            assert ("namespace" in (query or body)) == self.multi_user
            return 200, self._experiments(method, query, body)
        if (method, what) == ("POST", "runs"):
            self.created.append(api.V2beta1Run(**body))
            return 200, self._run()
        if what == f"runs/{RUN}":
            return 200, self._run()
        if found := re.fullmatch(rf"runs/{RUN}/nodes/([^/]+)/artifacts/([^/]+):read", what):
            content = self.files.get((found[1], found[2]))
            missing = {"error_message": "Failed to read artifact: artifact not found: <nil>"}
            return (200, {"data": base64.b64encode(content).decode()}) if content else (404, missing)
        return 404, {"message": "Not Found"}

    def _experiments(self, method: str, query: dict[str, list[str]], body: Any) -> Any:
        if method == "POST":
            self.experiments.append(api.V2beta1Experiment(**body, experiment_id=f"e{len(self.experiments)}"))
            return self.experiments[-1]
        (wanted,) = json.loads(query["filter"][0])["predicates"]
        assert (wanted["operation"], wanted["key"]) == ("EQUALS", "display_name")
        same = [each for each in self.experiments if each.display_name == wanted["stringValue"]]
        return api.V2beta1ListExperimentsResponse(experiments=same)

    def _run(self) -> api.V2beta1Run:
        state, tasks = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        name = self.created[0].display_name if self.created else "snp-flat-cpu"
        error = api.GoogleRpcStatus(message="the run failed") if state == "FAILED" else None
        details = api.V2beta1RunDetails(task_details=[_task(*each) for each in tasks.items()])
        return api.V2beta1Run(run_id=RUN, display_name=name, state=state, run_details=details, error=error)


def _task(name: str, state: str) -> api.V2beta1PipelineTaskDetail:
    done = state not in ("PENDING", "RUNNING")
    return api.V2beta1PipelineTaskDetail(
        display_name=name,
        pod_name=f"run-{name}",
        state=state,
        create_time=BEGUN,
        start_time=BEGUN,
        end_time=BEGUN + timedelta(seconds=12) if done else None,
        error=api.GoogleRpcStatus(message="tapeline: no\nsuch file") if state == "FAILED" else None,
    )


@contextmanager
def served(backend: Backend) -> Iterator[Backend]:
    """Serve it on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def _answer(self, method: str) -> None:
            where = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            backend.tokens.add(self.headers.get("Authorization", ""))
            status, content = backend.answer(method, where.path, parse_qs(where.query), body)
            record = content if isinstance(content, str) else json.dumps(CLIENT.sanitize_for_serialization(content))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(record.encode())

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    backend.address = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield backend
    finally:
        server.shutdown()
        server.server_close()


CLIENT = api.ApiClient(api.Configuration())
