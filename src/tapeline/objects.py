"""Objects below a URL: read one together with its ETag, and write it with a conditional put.

A conditional put replaces an object only where it still has the ETag that was read. S3 has the headers If-Match and
If-None-Match: * for it. Google Cloud Storage has the parameter ifGenerationMatch: there, what this module calls the
ETag is the generation. fsspec supports neither (only `create`), so each storage has its own functions here.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from tapeline import files
from tapeline.errors import Refused, refuse

NO_ETAG = ""
"""The ETag of an object that does not exist."""


class PreconditionFailed(Exception):
    """The object has another ETag than the conditional put requires."""


class AccessDenied(Refused):
    """The credentials may not do this."""


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


def _read_file(fs: Any, path: str) -> tuple[bytes, str]:
    content = Path(path).read_bytes()
    return content, hashlib.sha256(content).hexdigest()


def _put_file(fs: Any, path: str, content: bytes, etag: str) -> str:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with files.locked(target.with_name(f".{target.name}.lock"), seconds=60, what=str(target)):
        if (_read_file(fs, path)[1] if target.exists() else NO_ETAG) != etag:
            raise PreconditionFailed(path)
        files.write_bytes(target, content)
    return hashlib.sha256(content).hexdigest()


FOLDER = Driver("", {"auto_mkdir": True}, _read_file, _put_file, "change the permissions of the folder")
"""A folder that several machines mount, as file:///folder; its file system must have locks."""


@dataclass(frozen=True)
class Found:
    """An object in a listing."""

    size: int
    modified: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class Objects:
    """The objects below a URL."""

    url: str
    driver: Driver
    fs: Any
    """fsspec's file system."""
    root: str
    """The URL without its scheme: bucket/prefix."""
    key: str = "serving.store"
    """The key of the configuration that has the URL, for messages."""

    @classmethod
    def from_url(
        cls, url: str, key: str = "serving.store", more: Mapping[str, Any] | None = None, folder: bool = False
    ) -> Self:
        """The objects below a URL; this sends no request yet.

        Args:
            url: s3://bucket/prefix, for example.
            key: of the configuration.
            more: arguments of fsspec.filesystem beside the driver's.
            folder: whether file:///folder is a URL too.

        Raises:
            Refused: the scheme is not supported, or its driver is not installed.
        """
        scheme, _, path = url.partition("://")
        path = path.strip("/")
        drivers = {**DRIVERS, "file": FOLDER} if folder else DRIVERS
        if scheme not in drivers or not path:
            what = "a cache" if folder else "a store"
            raise refuse(
                url, f"is not the location of {what}", "write a folder, s3://bucket/prefix or gs://bucket/prefix"
            )
        driver = drivers[scheme]
        try:
            import fsspec

            filesystem = fsspec.filesystem(scheme, **driver.options, **(more or {}))
        except ImportError:
            fix = f"pip install 'tapeline[{driver.extra}]'" if driver.extra else "pip install fsspec"
            raise refuse(url, "the driver of this object storage is not installed", fix) from None
        # They log every attempt with its traceback; the user gets one sentence about the last one.
        for module in ("s3fs", "gcsfs"):
            logging.getLogger(module).setLevel(logging.CRITICAL)
        root = f"/{path}" if scheme in ("memory", "file") else path
        return cls(f"{scheme}://{root if scheme == 'file' else path}", driver, filesystem, root, key)

    def __str__(self) -> str:
        return self.url

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Raise Refused for the errors of the drivers, but FileNotFoundError and PreconditionFailed unchanged."""
        try:
            yield
        except (PreconditionFailed, FileNotFoundError):
            raise
        except NoSuchBucket as error:
            fix = f"create it, or set another {self.key}=s3://BUCKET/PREFIX"
            raise refuse(self.url, f"the bucket {error} does not exist", fix) from None
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"):
                raise refuse(self.url, "the environment has no credentials", self.driver.credentials) from None
            if isinstance(error, PermissionError) or "Forbidden" in reason:
                findings = refuse(self.url, f"access is denied ({reason})", self.driver.credentials).findings
                raise AccessDenied(*findings) from None
            fix = "check the URL, the network and the credentials"
            raise refuse(self.url, f"the request failed ({reason})", fix) from None

    def read(self, path: str) -> tuple[bytes, str]:
        """The content of an object and its ETag.

        Raises:
            FileNotFoundError: it does not exist.
            Refused: the request failed.
        """
        with self.translated_errors():
            return self.driver.read(self.fs, f"{self.root}/{path}")

    def put_once(self, path: str, content: bytes, etag: str) -> str:
        """Write an object that has this ETag; return the new one.

        Raises:
            PreconditionFailed: it has another one.
            Refused: the request failed; AccessDenied: the credentials do not allow it.
        """
        with self.translated_errors():
            return self.driver.put(self.fs, f"{self.root}/{path}", content, etag)

    def put_file(self, source: Path, path: str) -> None:
        """Write an object from a file, without a condition."""
        with self.translated_errors():
            self.fs.put_file(str(source), f"{self.root}/{path}")

    def get_file(self, path: str, target: Path) -> None:
        """Write a file from an object; raises FileNotFoundError where there is none."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.translated_errors():
            self.fs.get_file(f"{self.root}/{path}", str(target))

    def found(self, prefix: str = "") -> dict[str, Found]:
        """All objects below a prefix that ends at a slash, by their path below the URL."""
        start = f"{self.root}/{prefix}".rstrip("/")
        with self.translated_errors():
            try:
                listed = self.fs.find(start, detail=True)
            except FileNotFoundError:
                return {}
        cut = len(self.root) + 1
        return {path[cut:]: Found(int(each["size"]), _modified(each)) for path, each in listed.items()}

    def remove_all(self, paths: Iterable[str]) -> None:
        """Delete objects, in this order; one that does not exist is not a mistake."""
        for path in paths:
            with suppress(FileNotFoundError), self.translated_errors():
                self.fs.rm_file(f"{self.root}/{path}")


def _modified(listed: Mapping[str, Any]) -> float:
    """The time of the last change in a listing; each file system has its own name for it."""
    value = next((listed[name] for name in ("LastModified", "updated", "mtime", "created") if listed.get(name)), 0.0)
    if isinstance(value, str):
        value = datetime.fromisoformat(value.replace("Z", "+00:00"))
    return value.timestamp() if isinstance(value, datetime) else float(value)


def s3_options(prefix: str) -> dict[str, Any]:
    """Arguments of s3fs from variables of the environment whose names begin with a prefix; none without a key."""
    found = {name: os.environ.get(f"{prefix}{name}") for name in S3_KEYS}
    if not found["AWS_ACCESS_KEY_ID"]:
        return {}
    place = {"endpoint_url": found["AWS_ENDPOINT_URL"], "region_name": found["AWS_DEFAULT_REGION"]}
    return {
        "key": found["AWS_ACCESS_KEY_ID"],
        "secret": found["AWS_SECRET_ACCESS_KEY"],
        "client_kwargs": {name: value for name, value in place.items() if value},
    }


S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
"""Variables of the environment that the driver of S3 reads; also the keys of a Secret for object storage."""
