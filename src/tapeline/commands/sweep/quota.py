"""A sweep beside the ResourceQuotas of its namespace, before it starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tapeline.checks.quotas import above, limits_of, locks_of, sidecar_of
from tapeline.clusters import kubectl
from tapeline.config.schema import Argo
from tapeline.errors import Finding, Refused

Object = Mapping[str, Any]


def check(target: Argo, spec: Object) -> None:
    """Compare a sweep with the quotas of its namespace, as far as this account may read them.

    Raises:
        Refused: a resource of which its pods need more than a quota has.
    """
    quotas, ranges = (_items(target.namespace, kind) for kind in ("resourcequotas", "limitranges"))
    if not quotas:
        return
    templates = spec["templates"]
    names = {name for each in templates for name, _ in locks_of(each)}
    maps = {name: (kubectl.readable(target.namespace, "configmap", name) or {}).get("data", {}) for name in names}
    limits, sidecar = limits_of(maps), sidecar_of(ranges)
    findings = []
    for quota in quotas:
        fix = f"lower it, as in target.parallelism=1, or raise ResourceQuota {quota['metadata']['name']} in the overlay"
        for _, sentence in above(quota["spec"].get("hard", {}), templates, target.parallelism, sidecar, limits):
            findings.append(Finding(f"target.parallelism={target.parallelism}", sentence, fix))
    if findings:
        raise Refused(*findings)


def _items(namespace: str, kind: str) -> list[Object]:
    try:
        return list(json.loads(kubectl.run("-n", namespace, "get", kind, "-o=json"))["items"])
    except Refused as error:
        if "not allowed" in error.findings[0].problem:
            return []
        raise
