"""Object storages on loopback: moto for S3, and a fake of those Google Cloud Storage requests that a store sends."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def serialized(application: Application) -> Application:
    """Handle one request at a time, and refuse truncated bodies.

    moto checks a condition and writes in two steps, and it stores a truncated body.
    """
    lock = threading.Lock()

    def run(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        if len(body) < length:
            start("400 Bad Request", [])
            return [b""]
        if length:
            environ["wsgi.input"] = io.BytesIO(body)
        with lock:
            return list(application(environ, start))

    return run


@contextmanager
def serving(application: Application) -> Iterator[str]:
    """Serve a WSGI application on a free port; yields its URL."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *args: Any, **keys: Any) -> None:
            pass

    server = make_server("127.0.0.1", 0, serialized(application), threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def s3() -> Application:
    from moto.server import DomainDispatcherApplication, create_backend_app

    application: Application = DomainDispatcherApplication(create_backend_app)
    return application


@dataclass
class GoogleCloudStorage:
    """The JSON API with one bucket, named `bucket`, with generations and ifGenerationMatch."""

    objects: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    generation: int = 1000

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        query = {key: value[0] for key, value in parse_qs(environ.get("QUERY_STRING", "")).items()}
        path = environ.get("REQUEST_URI", environ["PATH_INFO"]).partition("?")[0].partition("/storage/v1/")[2]
        bucket, _, name = path.partition("b/")[2].partition("/o")
        name = unquote(name.removeprefix("/"))
        status, headers, content = 404, {}, b"{}"  # type: int, dict[str, str], bytes
        if unquote(bucket) == "bucket":
            status, headers, content = self._respond(environ, query, name)
        start(f"{status} -", [("Content-Length", str(len(content))), *headers.items()])
        return [content]

    def _respond(self, environ: dict[str, Any], query: dict[str, str], name: str) -> tuple[int, dict[str, str], bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            return self._upload(environ, query)
        if not name:
            return 200, {}, json.dumps(self._list(query)).encode()
        if name not in self.objects:
            return 404, {}, b"{}"
        if environ["REQUEST_METHOD"] == "DELETE":
            del self.objects[name]
            return 204, {}, b""
        content, generation = self.objects[name]
        if query.get("alt") != "media":
            return 200, {}, json.dumps(self._resource(name)).encode()
        return 200, {"x-goog-generation": str(generation)}, content

    def _upload(self, environ: dict[str, Any], query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        name = query.get("name", "")
        if query["uploadType"] == "multipart":
            boundary = b"--" + environ["CONTENT_TYPE"].partition("boundary=")[2].strip("\"'").encode()
            _, metadata, part, _ = body.split(boundary)
            name = json.loads(metadata.partition(b"\n\n")[2])["name"]
            body = part.partition(b"\n\n")[2][:-1]
        generation = self.objects.get(name, (b"", 0))[1]
        if "ifGenerationMatch" in query and int(query["ifGenerationMatch"]) != generation:
            return 412, {}, b"{}"
        self.generation += 1
        self.objects[name] = body, self.generation
        return 200, {}, json.dumps(self._resource(name)).encode()

    def _resource(self, name: str) -> dict[str, Any]:
        content, generation = self.objects[name]
        return {"name": name, "bucket": "bucket", "size": str(len(content)), "generation": str(generation)}

    def _list(self, query: dict[str, str]) -> dict[str, Any]:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        found = sorted(name for name in self.objects if name.startswith(prefix))
        deeper = [name for name in found if delimiter and delimiter in name[len(prefix) :]]
        folders = sorted({prefix + name[len(prefix) :].partition("/")[0] + "/" for name in deeper})
        return {"items": [self._resource(name) for name in found if name not in deeper], "prefixes": folders}
