"""Read one object of an object storage together with its ETag, and write it with a conditional put.

A conditional put replaces an object only where it still has the ETag that was read. S3 has the headers If-Match and
If-None-Match: * for it. Google Cloud Storage has the parameter ifGenerationMatch: there, what this module calls the
ETag is the generation. fsspec supports neither (only `create`), so each storage has its own functions here.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

NO_ETAG = ""
"""The ETag of an object that does not exist."""


class PreconditionFailed(Exception):
    """The object has another ETag than the conditional put requires."""


class NoSuchBucket(Exception):
    """The bucket does not exist."""


@dataclass(frozen=True)
class Driver:
    """How tapeline uses one object storage."""

    extra: str
    """The extra of pyproject.toml that installs the driver; "" where fsspec has it."""
    options: dict[str, Any]
    """Arguments of fsspec.filesystem."""
    read: Callable[[Any, str], tuple[bytes, str]]
    """(file system, path) to content and ETag. Raises FileNotFoundError or NoSuchBucket."""
    put: Callable[[Any, str, bytes, str], str]
    """(file system, path, content, required ETag) to the new ETag. Raises PreconditionFailed or NoSuchBucket."""
    credentials: str
    """How a user sets the credentials."""


def _read_s3(fs: Any, path: str) -> tuple[bytes, str]:
    from fsspec import asyn

    bucket, key, _ = fs.split_path(path)

    async def get() -> tuple[bytes, str]:
        response = await fs._call_s3("get_object", Bucket=bucket, Key=key)
        async with response["Body"] as body:
            return await body.read(), response["ETag"]

    try:
        content: tuple[bytes, str] = asyn.sync(fs.loop, get)
    except OSError as error:
        if _error_code(error) == "NoSuchBucket":
            raise NoSuchBucket(bucket) from None
        raise
    return content


def _put_s3(fs: Any, path: str, content: bytes, etag: str) -> str:
    bucket, key, _ = fs.split_path(path)
    condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
    try:
        response = fs.call_s3("put_object", Bucket=bucket, Key=key, Body=content, **condition)
    except OSError as error:
        # 409: another conditional put of this key is in progress; 404: the object with the ETag was deleted
        if _error_code(error) in ("PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey"):
            raise PreconditionFailed(path) from None
        if _error_code(error) == "NoSuchBucket":
            raise NoSuchBucket(bucket) from None
        raise
    return str(response["ETag"])


def _error_code(error: BaseException) -> str:
    """The error code in S3's response; "" where s3fs kept none."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _read_gcs(fs: Any, path: str) -> tuple[bytes, str]:
    bucket, key, _ = fs.split_path(path)
    try:
        headers, content = fs.call("GET", "b/{}/o/{}", bucket, key, alt="media")
    except FileNotFoundError:
        _check_bucket_gcs(fs, bucket)
        raise
    return content, str(headers["x-goog-generation"])


def _put_gcs(fs: Any, path: str, content: bytes, etag: str) -> str:
    bucket, key, _ = fs.split_path(path)
    url = f"{fs._location}/upload/storage/v1/b/{quote(bucket)}/o"
    headers = {"Content-Type": "application/octet-stream"}
    parameters = {"uploadType": "media", "name": key, "ifGenerationMatch": etag or "0"}
    try:
        response = fs.call("POST", url, headers=headers, data=content, json_out=True, **parameters)
    except FileExistsError:
        raise PreconditionFailed(path) from None
    except FileNotFoundError:
        _check_bucket_gcs(fs, bucket)
        raise PreconditionFailed(path) from None
    return str(response["generation"])


def _check_bucket_gcs(fs: Any, bucket: str) -> None:
    """Raise NoSuchBucket where the bucket is missing; a missing object and a missing bucket are both status 404."""
    try:
        fs.call("GET", "b/{}/o", bucket, maxResults=1)
    except FileNotFoundError:
        raise NoSuchBucket(bucket) from None


_MEMORY_LOCK = threading.Lock()


def _read_memory(fs: Any, path: str) -> tuple[bytes, str]:
    content: bytes = fs.cat_file(path)
    return content, hashlib.sha256(content).hexdigest()


def _put_memory(fs: Any, path: str, content: bytes, etag: str) -> str:
    with _MEMORY_LOCK:
        if (_read_memory(fs, path)[1] if fs.exists(path) else NO_ETAG) != etag:
            raise PreconditionFailed(path)
        fs.pipe_file(path, content)
    return hashlib.sha256(content).hexdigest()


_S3_OPTIONS = {"use_listings_cache": False, "config_kwargs": {"connect_timeout": 5, "retries": {"max_attempts": 3}}}
_S3_CREDENTIALS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL for a server that is not Amazon's)"
)
_GCS_CREDENTIALS = "set GOOGLE_APPLICATION_CREDENTIALS, or log in with: gcloud auth application-default login"
_GCS = Driver("gcs", {"use_listings_cache": False}, _read_gcs, _put_gcs, _GCS_CREDENTIALS)
DRIVERS = {
    "s3": Driver("s3", _S3_OPTIONS, _read_s3, _put_s3, _S3_CREDENTIALS),
    "gs": _GCS,
    "gcs": _GCS,
    "memory": Driver("", {}, _read_memory, _put_memory, ""),
}
"""By the URL's scheme. `memory` is for tests; its objects are lost when the process ends."""
