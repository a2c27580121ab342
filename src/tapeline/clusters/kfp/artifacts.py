"""Artifacts and logs of KFP's runs in object storage, below `target.artifacts`.

KFP's launcher writes <root>/<pipeline>/<run>/<task>/<number>/<artifact>, and beside it executor-logs-<attempt>. The API
of KFP 2.17 returns no artifacts of these runs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

from tapeline.config.schema import Config, Kfp
from tapeline.errors import Refused, refuse

T = TypeVar("T")

LOGS = "executor-logs-*"


def try_root(config: Config) -> None:
    """Find out whether the folder or bucket of artifacts can be read; before the first run the folder is missing there.

    Raises:
        Refused: it cannot be read.
    """
    root = cast(Kfp, config.target).artifacts
    if root is not None:
        _read(root, _listed)


def _listed(files: Any, path: str) -> list[Any]:
    try:
        return list(files.ls(path, detail=False))
    except FileNotFoundError:
        # object storage has no empty folders
        return list(files.ls(path if path.startswith("/") else path.partition("/")[0], detail=False))


def read(config: Config, run: str, task: str, artifact: str) -> bytes:
    """The newest artifact of this name: a task that was tried again has several.

    Raises:
        Refused: there is none, or the storage cannot be read.
    """
    root = str(cast(Kfp, config.target).artifacts).rstrip("/")
    content = _read(f"{root}/*/{run}/{task}/*/{artifact}", _newest)
    if content is None:
        raise refuse(f"target.artifacts={root}", f"has no {artifact} of {run}", "set it to the root of KFP's pipelines")
    return content


def log(config: Config, run: str, task: str) -> str:
    """The newest log of a task; empty if there is none."""
    root = cast(Kfp, config.target).artifacts
    content: bytes | None = None
    if root is not None:
        with suppress(Refused):  # what is asked for is the reason of a failure, not a second one
            content = _read(f"{root.rstrip('/')}/*/{run}/{task}/*/{LOGS}", _newest)
    return (content or b"").decode(errors="replace")


def _newest(files: Any, pattern: str) -> bytes | None:
    found = sorted(files.glob(pattern), key=lambda path: (files.modified(path), path))
    return cast(bytes, files.cat_file(found[-1])) if found else None


def _read(url: str, what: Callable[[Any, str], T]) -> T:
    try:
        import fsspec

        files, path = fsspec.core.url_to_fs(url)
        files.invalidate_cache()
        return what(files, path)
    except Exception as error:  # each file system raises its own kinds
        problem = " ".join(str(error).split()) or type(error).__name__
        where = f"target.artifacts={url.partition('/*/')[0]}"
        fix = "check the address and the credentials, for example s3://mlpipeline/v2/artifacts with AWS_ENDPOINT_URL"
        raise refuse(where, f"cannot be read ({problem})", fix) from None
