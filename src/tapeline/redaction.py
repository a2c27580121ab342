"""Secrets in text, replaced by ***: what messages, logs and files of a run show.

In a URL each user part, parameter and fragment is secret, unless it is known to be none. Values that came from the
environment are replaced by the text that names the variable.
"""

from __future__ import annotations

import re
from urllib.parse import quote, quote_plus

HIDDEN = "***"
KEYS = (
    (re.compile(r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----(?:.*?-----END [A-Z ]*PRIVATE KEY-----|.*)"), "a private key"),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), "an access key of AWS"),
    (re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b"), "a key of Google's API"),
    (re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{40,})"), "a token of GitHub"),
    (re.compile(r"\bey[A-Za-z0-9_-]{15,}\.ey[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{15,}"), "a signed token"),
    (re.compile(r"(?i)[\"']?private_key[\"']?\s*:\s*[\"'][^\"']{20,}"), "a service account's key"),
)  # fmt: skip
"""What looks like a credential wherever it stands, and what it is."""

NAMES = (
    r"[\w-]*(?:passw(?:or)?d|passcode|passphrase|pwd|api_?key|access_?key|account_?key|secret_?key|private_?key"
    r"|client_?secret|shared_?access_?signature|credentials?|(?:auth|access|sas|session)_?token)"
)
"""Names of secrets."""
LOGIN = re.compile(r"(?<=://)([^\s:/@]*:)\S+(?=@)")
"""A password before the host of a URL."""
USER = re.compile(r"(?i)\b([a-z][a-z0-9.-]*)((?:\+[a-z0-9.-]+)?://)([^\s:/@?#'\"]+)(:\*\*\*)?@")
PARAMETER = re.compile(r"([?&#;])([\w.%-]+)=([^\s&#;'\"<>)\]},]+)")
PAIR = re.compile(rf"(?i)(?<!\w)({NAMES}\s*=\s*)(\"[^\"]*\"|'[^']*'|[^\s;&,)}}\"']+)")
QUOTED = re.compile(rf"(?i)([\"'](?:{NAMES}|token|secret)[\"']\s*:\s*)(\"[^\"]*\"|'[^']*')")
TOKEN = re.compile(r"(?i)(?<!\w)(token=|secret=)([^\s;&,\"'=]+)")
HEAD = re.compile(
    r"(?i)\b((?:proxy-)?authorization|x-api-key|x-auth-token|cookie)([\"']?\s*[:=]\s*[\"']?)((?:bearer|basic|token)\s+)?"
    r"[^\s\"',}]+"
)

LOGINS = re.compile(
    "postgresql|postgres|mysql|mariadb|mssql|oracle|redshift|snowflake|trino|presto|clickhouse|cockroachdb|db2|hive"
    "|teradata|vertica|exasol|sftp|ssh|hdfs"
)
"""Schemes of URLs whose part before the host is the name of a user."""
PLAIN = re.compile(
    "sslmode|sslrootcert|ssl|tls|connect_timeout|timeout|application_name|charset|client_encoding|encoding|driver|mode"
    "|cache|uri|immutable|warehouse|role|region|location|host|port|dbname|database|schema|catalog|user|username|uid"
    "|trusted_connection|encrypt|read_only|access_mode|format|interval|period1|period2|events|symbol|symbols|ticker"
    "|start|end|from|to|date|frequency|range|download|raw|version|sheet"
    "|credentials_path|arraysize|use_query_cache|maximum_bytes_billed|priority"
)
"""Parameters of URLs that are not secrets."""
REFERENCES = re.compile(r"(\$\{[^{}]*\})")
REFERENCE = ("$", "{", "***")
"""Beginnings of values that only refer to a secret."""
SHORTEST = 4
"""Letters of a value of the environment that is replaced; shorter ones occur in other words."""

_known: dict[str, str] = {}


def remember(value: str, text: str) -> None:
    """From now on, show `text` instead of a value that came from the environment."""
    if len(value) >= SHORTEST and not value.isdigit():
        _known[value] = text


def scrub(text: str) -> str:
    """The text without secrets, and without values of the environment."""
    for value in sorted(_known, key=len, reverse=True):
        for form in dict.fromkeys((value, quote(value, safe=""), quote_plus(value))):
            if form in text:
                parts = REFERENCES.split(text)
                text = "".join(each if at % 2 else each.replace(form, _known[value]) for at, each in enumerate(parts))
    return without_secrets(text)


def holds_secret(text: str) -> bool:
    """Whether a text holds what may be a secret."""
    return without_secrets(text) != text


def without_secrets(text: str) -> str:
    """The text with *** in the place of each secret."""
    for pattern, _ in KEYS:
        text = pattern.sub(HIDDEN, text)
    text = LOGIN.sub(rf"\1{HIDDEN}", text)
    text = USER.sub(_user, text)
    text = PARAMETER.sub(_parameter, text)
    for pattern in (PAIR, QUOTED, TOKEN):
        text = pattern.sub(_value, text)
    return HEAD.sub(_head, text)


def _user(found: re.Match[str]) -> str:
    scheme, rest, user, password = found.groups()
    known = LOGINS.fullmatch(scheme.lower()) or user.startswith(REFERENCE)
    return found[0] if known else f"{scheme}{rest}{HIDDEN}{password or ''}@"


def _parameter(found: re.Match[str]) -> str:
    mark, name, value = found.groups()
    known = PLAIN.fullmatch(name.lower()) or value.startswith(REFERENCE)
    return found[0] if known else f"{mark}{name}={HIDDEN}"


def _value(found: re.Match[str]) -> str:
    value = found[2].strip("\"'")
    known = not value or value.startswith(REFERENCE) or value.lower() in ("null", "none", "...")
    return found[0] if known else f"{found[1]}{HIDDEN}"


def _head(found: re.Match[str]) -> str:
    name, mark, kind = found.groups()
    return f"{name}{mark}{kind or ''}{HIDDEN}"
