"""What may be a secret: keys whose name says so, and values that look like a credential."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tapeline.errors import Finding, refuse
from tapeline.redaction import KEYS, holds_secret

__all__ = ["KEYS", "password", "suspects"]

NAMED = re.compile(r"(?i)(?:^|_)(?:password|passwd|pwd|secret|token|credentials?|(?:api|access|private)_?key)(?:_|$)")
"""Names of keys that hold a secret."""
REFERENCE = ("_env", "_file")
"""Names of keys that say where a secret is."""
INSIDE = re.compile(r"(?i)\b(?:password|passwd|pwd|secret|token)\s*=\s*[^\s;&${]+")
"""In a value, as in a connection string."""

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
            yield Finding(key, "may hold a secret, which would stand in the emitted files", fix)


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
