"""One object, read with its tag, and written only where it still has that tag.

S3 compares ETags (If-Match, If-None-Match: *), Google Cloud Storage generations (ifGenerationMatch);
of fsspec's file systems only `create` is known to all, so each kind has its functions here.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

NONE = ""
"""The tag of an object that is not there."""


class Changed(Exception):
    """The object does not have that tag."""


@dataclass(frozen=True)
class Kind:
    """What is particular to one kind of object storage."""

    extra: str
    """Of pyproject.toml, that installs the driver; "" where fsspec has it."""
    options: dict[str, Any]
    read: Callable[[Any, str], tuple[bytes, str]]
    """FileNotFoundError where there is no such object, NoBucket where there is no bucket."""
    write: Callable[[Any, str, bytes, str], str]
    """The new tag; or Changed."""
    credentials: str
    """What a person sets for access."""


class NoBucket(Exception):
    """There is no such bucket."""


def _read_s3(fs: Any, path: str) -> tuple[bytes, str]:
    from fsspec import asyn

    bucket, key, _ = fs.split_path(path)

    async def get() -> tuple[bytes, str]:
        answer = await fs._call_s3("get_object", Bucket=bucket, Key=key)
        async with answer["Body"] as body:
            return await body.read(), answer["ETag"]

    try:
        content: tuple[bytes, str] = asyn.sync(fs.loop, get)
    except OSError as error:
        if _code(error) == "NoSuchBucket":
            raise NoBucket(bucket) from None
        raise
    return content


def _write_s3(fs: Any, path: str, content: bytes, tag: str) -> str:
    bucket, key, _ = fs.split_path(path)
    condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
    try:
        answer = fs.call_s3("put_object", Bucket=bucket, Key=key, Body=content, **condition)
    except OSError as error:
        # 409: another conditional write of this key is under way; 404: an object that had the tag is gone
        if _code(error) in ("PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey"):
            raise Changed(path) from None
        if _code(error) == "NoSuchBucket":
            raise NoBucket(bucket) from None
        raise
    return str(answer["ETag"])


def _code(error: BaseException) -> str:
    """S3's error code of an error that s3fs translated."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _read_gcs(fs: Any, path: str) -> tuple[bytes, str]:
    bucket, key, _ = fs.split_path(path)
    try:
        headers, content = fs.call("GET", "b/{}/o/{}", bucket, key, alt="media")
    except FileNotFoundError:
        _check_gcs(fs, bucket)
        raise
    return content, str(headers["x-goog-generation"])


def _write_gcs(fs: Any, path: str, content: bytes, tag: str) -> str:
    bucket, key, _ = fs.split_path(path)
    address = f"{fs._location}/upload/storage/v1/b/{quote(bucket)}/o"
    kind = {"Content-Type": "application/octet-stream"}
    condition = {"uploadType": "media", "name": key, "ifGenerationMatch": tag or "0"}
    try:
        made = fs.call("POST", address, headers=kind, data=content, json_out=True, **condition)
    except FileExistsError:
        raise Changed(path) from None
    except FileNotFoundError:
        _check_gcs(fs, bucket)
        raise Changed(path) from None
    return str(made["generation"])


def _check_gcs(fs: Any, bucket: str) -> None:
    """Tell a bucket that is not there from an object that is not: both are 404."""
    try:
        fs.call("GET", "b/{}/o", bucket, maxResults=1)
    except FileNotFoundError:
        raise NoBucket(bucket) from None


_MEMORY = threading.Lock()


def _read_memory(fs: Any, path: str) -> tuple[bytes, str]:
    content: bytes = fs.cat_file(path)
    return content, hashlib.sha256(content).hexdigest()


def _write_memory(fs: Any, path: str, content: bytes, tag: str) -> str:
    with _MEMORY:
        if (_read_memory(fs, path)[1] if fs.exists(path) else NONE) != tag:
            raise Changed(path)
        fs.pipe_file(path, content)
    return hashlib.sha256(content).hexdigest()


_S3 = {"use_listings_cache": False, "config_kwargs": {"connect_timeout": 5, "retries": {"max_attempts": 3}}}
_AWS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL for a server that is not Amazon's)"
_GOOGLE = "set GOOGLE_APPLICATION_CREDENTIALS, or log in with: gcloud auth application-default login"
_GCS = Kind("gcs", {"use_listings_cache": False}, _read_gcs, _write_gcs, _GOOGLE)
KINDS = {
    "s3": Kind("s3", _S3, _read_s3, _write_s3, _AWS),
    "gs": _GCS,
    "gcs": _GCS,
    "memory": Kind("", {}, _read_memory, _write_memory, ""),
}
"""By the URL's scheme; memory is for tests and ends with the process."""
