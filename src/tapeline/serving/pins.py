"""models.config as text, read and written without protobuf: its packages bring TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

CANARY = "-canary"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,69}")
_TOKEN = re.compile(
    r"\s*(?:#.*)?(?:(?P<string>\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')|(?P<word>[\w.+-]+)|(?P<mark>[{}<>\[\]:,;])|$)",
    re.MULTILINE,
)
_OPEN = {"{": "}", "<": ">"}

Message = list[tuple[str, object]]
"""Fields in their order; a message's own are a list again."""


def read(text: str) -> dict[str, int]:
    """Entry to number.

    Raises:
        ValueError: it is not a model_config_list of one version each.
    """
    fields, rest = _message(list(_tokens(text)), "")
    if rest:
        raise ValueError(f"{rest[0]} closes nothing")
    strange = {name for name, _ in fields} - {"model_config_list"}
    if strange:
        raise ValueError(f"it has {', '.join(sorted(strange))}")
    return dict(_pin(entry) for models in _all(fields, "model_config_list") for entry in _all(models, "config"))


def _pin(entry: object) -> tuple[str, int]:
    names = list(_all(entry, "name"))
    numbers = [
        number
        for policy in _all(entry, "model_version_policy")
        for specific in _all(policy, "specific")
        for number in _all(specific, "versions")
    ]
    if len(names) != 1 or not NAME.fullmatch(str(names[0])) or len(numbers) != 1 or not str(numbers[0]).isdecimal():
        raise ValueError(f"an entry names {names} with versions {numbers}")
    return str(names[0]), int(str(numbers[0]))


def _all(message: object, name: str) -> Iterator[object]:
    if not isinstance(message, list):
        raise ValueError(f"{name} is looked for in {message}")
    return (value for field, value in message if field == name)


def _tokens(text: str) -> Iterator[str]:
    """Words, marks and strings, these with their first quote."""
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found or (found.end() == at and not text[at].isspace()):
            raise ValueError(f"{text[at : at + 20].strip()!r} cannot be read")
        at = found.end() if found.end() > at else at + 1
        if token := found["word"] or found["mark"]:
            yield token
        elif found["string"]:
            yield found["string"][:-1]


def _message(tokens: list[str], end: str) -> tuple[Message, list[str]]:
    """Fields up to `end`, and what follows it."""
    fields: Message = []
    while tokens and tokens[0] != end:
        name, *tokens = tokens
        if name in (",", ";"):
            continue
        if tokens[:1] == [":"]:
            tokens = tokens[1:]
        values, tokens = _values(name, tokens)
        fields += [(name, value) for value in values]
    if end and not tokens:
        raise ValueError(f"{end} is missing")
    return fields, tokens[1:] if end else tokens


def _values(name: str, tokens: list[str]) -> tuple[list[object], list[str]]:
    """One value, or those of a list."""
    if not tokens or tokens[0] in ("}", ">", ",", ";", ":") or not name[0].isalpha():
        raise ValueError(f"{name} has no value")
    first, *rest = tokens
    if first in _OPEN:
        message, rest = _message(rest, _OPEN[first])
        return [message], rest
    if first != "[":
        return [first[1:] if first[0] in "\"'" else first], rest
    several: list[object] = []
    while rest and rest[0] != "]":
        value, rest = _values(name, rest)
        several += value
        rest = rest[1:] if rest[:1] == [","] else rest
    if not rest:
        raise ValueError("] is missing")
    return several, rest[1:]


def text(pins: Mapping[str, int], base: str, comments: Iterable[str] = ()) -> str:
    """A models.config, as protobuf prints it; the canary's folder is that of its name.

    Args:
        pins: entry to number.
        base: what the models' folders lie in.
        comments: lines above it.
    """
    entries = "".join(
        f'  config {{\n    name: "{entry}"\n    base_path: "{_quoted(f"{base}/{entry.removesuffix(CANARY)}")}"\n'
        '    model_platform: "tensorflow"\n    model_version_policy {\n      specific {\n'
        f"        versions: {number}\n      }}\n    }}\n  }}\n"
        for entry, number in sorted(pins.items())
    )
    return "".join(f"# {line}\n" for line in comments) + f"model_config_list {{\n{entries}}}\n"


def _quoted(path: str) -> str:
    r"""As protobuf escapes: backslash, quotes and control characters."""
    escapes = {"\\": "\\\\", '"': '\\"', "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return "".join(escapes.get(each) or (each if each.isprintable() else _octal(each)) for each in path)


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))
