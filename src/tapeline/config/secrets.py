"""Possible secrets: keys with such names, and values that look like credentials."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tapeline.errors import Finding, refuse
from tapeline.redaction import KEYS, holds_secret, scrub

__all__ = ["KEYS", "password", "suspects", "written"]

NAMED = re.compile(r"(?i)(?:^|_)(?:password|passwd|pwd|secret|token|credentials?|(?:api|access|private)_?key)(?:_|$)")
"""Names of keys with a secret."""
REFERENCE = ("_env", "_file")
"""Names of keys that say where a secret is."""
INSIDE = re.compile(r"(?i)\b(?:password|passwd|pwd|secret|token)\s*=\s*[^\s;&${]+")
"""Patterns in a value, for example in a connection string."""

ENVIRONMENT = re.compile(r"\$\{oc\.env:\w+\}")


def suspects(values: Mapping[str, Any]) -> Iterator[Finding]:
    """A finding for each key, dotted, whose value may be a secret.

    Text that refers to the environment, `${oc.env:NAME}`, holds no secret.
    """
    for key, value in values.items():
        name, text = key.rpartition(".")[2], str(value)
        if value is None or value == "" or ENVIRONMENT.fullmatch(text):
            continue
        named = NAMED.search(name) and not name.endswith(REFERENCE)
        if named or holds_secret(text) or INSIDE.search(text) or any(each.search(text) for each, _ in KEYS):
            fix = (
                f"name a variable, as in {key.removesuffix('_env')}_env=NAME, and put it into the Secret that"
                " target.data_secret or target.store_secret names"
            )
            yield Finding(key, "may be a secret, which would be written into the emitted files", fix)


def written(override: str) -> str:
    """An override as a record of a run may hold it: without what may be a secret."""
    key, equals, value = override.partition("=")
    return f"{key}{equals}***" if list(suspects({key.lstrip("+~"): value})) else scrub(override)


def password(section: str, variable: str | None, file: str | None) -> str | None:
    """The password that `<section>.password_env` or `<section>.password_file` refers to; None where neither is set.

    Raises:
        Refused: there is no such variable or file, or the file is empty.
    """
    if variable:
        if not (found := os.environ.get(variable)):
            where = f"{section}.password_env={variable}"
            raise refuse(where, "the environment has no such variable", "set the variable to the password")
        return found
    if not file:
        return None
    where = f"{section}.password_file={file}"
    try:
        found = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        what = str(getattr(error, "strerror", None) or "is not UTF-8 text").lower()
        raise refuse(where, what, "set it to a readable file that holds the password") from None
    if not found:
        raise refuse(where, "the file is empty", "write the password to the file")
    return found
