"""The endpoints of Kubeflow Pipelines' API that a run needs, on loopback, in its own models and with its omissions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api as api

from tests.clusters.submit.kfp_workflow import Cache, Graph

RUN = "6b1c8f2e-0d3a-4f57-9f0b-2f7c5d1e9a34"
NO_ARTIFACT = {"error_message": "Failed to read artifact: artifact not found: <nil>"}


@dataclass
class Look:
    """What a look at the run shows."""

    state: str
    graph: Graph = field(default_factory=Graph)
    tasks: Graph | None = None
    """The graph of its tasks, where KFP has stored the run's state and not yet theirs."""


@dataclass
class Backend:
    """What it knows, and what it was asked."""

    looks: list[Look]
    """The last one stays."""
    logs: dict[str, str] = field(default_factory=dict)
    """Of the pods that are there, by name."""
    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    """Other answers than its own, by a part of the path; each once."""
    multi_user: bool = False
    cache: Cache | None = None
    """If set, a run that is created succeeds at once, with this cache."""
    stops: bool = True
    """Whether a run that is terminated ends."""
    address: str = ""
    experiments: list[api.V2beta1Experiment] = field(default_factory=list)
    created: list[api.V2beta1Run] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    """The paths, without those of the run's state."""

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
            if self.cache is not None:
                spec = body["pipeline_spec"]["pipeline_spec"]
                self.looks = [Look("SUCCEEDED", self.cache.run(spec, body["runtime_config"]["parameters"]))]
            return 200, self._run()
        if what == f"runs/{RUN}":
            if len(self.looks) > 1:
                self.looks.pop(0)
            return 200, self._run()
        self.asked.append(path)
        return self._old(method, path)

    def _old(self, method: str, path: str) -> tuple[int, Any]:
        """Stopping, and what only older paths have."""
        if (method, path) == ("POST", f"/apis/v2beta1/runs/{RUN}:terminate"):
            graph = self.looks[-1].graph
            graph.stopped = True
            for each in graph.nodes.values():
                each["phase"] = "Failed" if each["phase"] in ("Running", "Pending") else each["phase"]
            self.looks = [Look("FAILED", graph)] if self.stops else self.looks
            return 200, {}
        if path == f"/apis/v1beta1/runs/{RUN}":
            runtime = {"workflow_manifest": self.looks[0].graph.manifest()} if self.looks[0].graph.nodes else {}
            return 200, {"run": {"id": RUN}, "pipeline_runtime": runtime}
        if found := re.fullmatch(rf"/apis/v1alpha1/runs/{RUN}/nodes/([^/]+)/log", path):
            gone = {"error_message": f"Failed to read logs from pod {found[1]} due to error opening log stream"}
            return (200, self.logs[found[1]]) if found[1] in self.logs else (500, gone)
        if ":read" in path:
            return 404, NO_ARTIFACT
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
        look = self.looks[0]
        name = self.created[-1].display_name if self.created else "snp-flat-cpu"
        details = api.V2beta1RunDetails(task_details=(look.tasks or look.graph).details())
        return api.V2beta1Run(run_id=RUN, display_name=name, state=look.state, run_details=details)


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
