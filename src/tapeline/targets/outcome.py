"""What people see last of a run on a cluster: its summary, and the files that are handed over.

tapeline summary name=snp-deep-cpu-x7f status=Succeeded duration=84.1 metrics=metrics.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tapeline import files


def decision(metrics: Mapping[str, Any]) -> str:
    """The gate's, with its reasons."""
    gate = metrics["gate"]
    return f"{'accepted' if gate['accepted'] else 'rejected'}: {'; '.join(gate['reasons'])}"


def summary(told: Mapping[str, str]) -> str:
    """How a run ended: what failed and why, or else what the gate decided.

    Args:
        told: what a cluster says of a run: name, status, duration in seconds, failures as JSON, and the
            path of metrics.json, which is there if the gate came to decide.
    """
    lines = [f"{told.get('name', 'run')}: {told.get('status', 'ended')} after {_seconds(told.get('duration', ''))}"]
    lines += [f"{each.get('displayName')}: {each.get('message')}" for each in _failures(told.get("failures", ""))]
    path = Path(told.get("metrics", "metrics.json"))
    if path.is_file():
        lines.append(decision(files.read_json(path)))
    return "\n".join(lines)


def _seconds(text: str) -> str:
    try:
        return f"{float(text):.0f} s"
    except ValueError:
        return "a time that is not known"


def _failures(text: str) -> list[dict[str, Any]]:
    """Of a list in JSON, which may be text in JSON itself."""
    try:
        told = json.loads(text)
        told = json.loads(told) if isinstance(told, str) else told
    except ValueError:
        return []
    return [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []
