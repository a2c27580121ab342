"""Syntax of Kubernetes: quantities, names, labels, images, schedules."""

from __future__ import annotations

import re
from fractions import Fraction
from zoneinfo import ZoneInfo

BINARY = {f"{letter}i": Fraction(1024) ** power for power, letter in enumerate("KMGTPE", 1)}
DECIMAL = {letter: Fraction(1000) ** power for power, letter in enumerate("kMGTPE", 1)}
SUFFIXES = (
    BINARY | DECIMAL | {"": Fraction(1), "m": Fraction(1, 10**3), "u": Fraction(1, 10**6), "n": Fraction(1, 10**9)}
)
NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""RFC 1123, at most 63 characters."""
KEY = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
"""The name in a label key, and a label value."""
IMAGE = re.compile(
    r"(?P<name>(?:[A-Za-z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
MOVING = ("latest", "main", "master", "stable", "nightly", "edge", "dev", "devel", "rolling")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
SCHEDULE = ((0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, MONTHS), (0, 6, WEEKDAYS))
"""Minute, hour, day of the month, month, weekday (Argo's cron knows no weekday 7): lowest, highest, names."""


def quantity(value: object) -> Fraction | None:
    """The number that `500m`, `2Gi` or `1e3` stands for; None if Kubernetes cannot read it."""
    found = re.fullmatch(rf"({NUMBER})(?:[eE]([+-]?\d{{1,2}})|([A-Za-z]*))", str(value))
    if not found or isinstance(value, bool) or (found[3] or "") not in SUFFIXES:
        return None
    return Fraction(found[1].rstrip(".")) * (Fraction(10) ** int(found[2]) if found[2] else SUFFIXES[found[3] or ""])


def is_subdomain(name: str) -> bool:
    """Whether it is a name of an object: labels with dots between them."""
    return len(name) <= 253 and all(LABEL.fullmatch(part) for part in name.split("."))


def is_label_key(key: str) -> bool:
    """Whether it is `name`, or `prefix/name` with a domain as the prefix."""
    prefix, slash, name = key.rpartition("/")
    return bool(KEY.fullmatch(name)) and (is_subdomain(prefix) if slash else True)


def is_label_value(value: object) -> bool:
    """Whether it is text of at most 63 allowed characters; it may be empty."""
    return isinstance(value, str) and (value == "" or bool(KEY.fullmatch(value)))


def mutable_image(image: str) -> str | None:
    """Why the image of this name can change; None if it cannot."""
    found = IMAGE.fullmatch(image)
    if not found:
        return "is not a valid image name"
    if found["digest"]:
        return None
    if not found["tag"]:
        return "has no tag, so it means the mutable tag latest"
    words = re.split(r"[-_.]", found["tag"].lower())
    if any(word in MOVING for word in words) or not re.search(r"\d", found["tag"]) or found["tag"].isdecimal():
        return f"has the mutable tag {found['tag']}"
    return None


def invalid_schedule(text: str) -> str | None:
    """Why Argo would refuse a schedule of five cron fields; None if it would not."""
    parts = text.split()
    if len(parts) != len(SCHEDULE):
        return f"has {len(parts)} fields, not five"
    for part, (low, high, names) in zip(parts, SCHEDULE, strict=True):
        numbers = {str(number): number for number in range(low, high + 1)}
        numbers |= {name: number for number, name in enumerate(names, low)}
        for each in part.split(","):
            found = re.fullmatch(r"(?:\*|(\w+)(?:-(\w+))?)(?:/([1-9]\d*))?", each.lower())
            words = [end.lstrip("0") or "0" for end in found.groups()[:2] if end] if found else [""]
            if not all(word in numbers for word in words):
                return f"has {each}, but values from {low} to {high} are allowed there"
            if [numbers[word] for word in words] != sorted(numbers[word] for word in words):
                return f"has {each}, a range that ends before it begins"
    return None


def is_zone(name: str) -> bool:
    """Whether it is a time zone of the tz database."""
    try:
        return bool(ZoneInfo(name))
    except (KeyError, OSError, ValueError):
        return False
