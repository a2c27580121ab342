"""What the pods of a sweep need at once, beside a quota."""

from __future__ import annotations

from typing import Any

import pytest

from tapeline.checks.quotas import above

SIDECAR = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {}}


def template(lock: str = "", **requests: str) -> dict[str, Any]:
    made: dict[str, Any] = {"container": {"resources": {"requests": requests, "limits": requests}}}
    where = {"configMapKeyRef": {"name": "gpu-limits", "key": lock}}
    return {**made, "synchronization": {"semaphores": [where]}} if lock else made


@pytest.mark.parametrize(
    ("hard", "parallelism", "needed"),
    [
        ({"requests.cpu": "4"}, 3, "3.3 requests.cpu"),
        ({"requests.cpu": "3200m"}, 3, "3.3 requests.cpu, and the quota is 3200m"),
        ({"cpu": "1"}, 1, "1.1 cpu"),
        ({"limits.memory": "3Gi"}, 4, "4Gi limits.memory, and the quota is 3Gi"),
        ({"pods": "2"}, 3, "3 pods need 3 pods"),
        ({"services": "0", "requests.storage": "1Gi", "count/jobs.batch": "0"}, 9, ""),
    ],
)
def test_both_numbers_are_said(hard: dict[str, str], parallelism: int, needed: str) -> None:
    small, large = template(cpu="100m"), template(cpu="1", memory="1Gi")
    found = [sentence for _, sentence in above(hard, [small, large], parallelism, SIDECAR, {})]
    fits = not needed or hard == {"requests.cpu": "4"}
    assert len(found) == (0 if fits else 1)
    assert fits or needed in found[0]


def test_pods_with_a_gpu_wait_for_their_turn() -> None:
    """Of four pods, one has the GPU; the others are those without."""
    pods = [template("gpu", cpu="4", **{"nvidia.com/gpu": "1"}), template(cpu="1"), {"dag": {}}]
    pods.append(pods[0])
    limits = {("gpu-limits", "gpu"): 1}
    quota = {"requests.nvidia.com/gpu": "1", "requests.cpu": "7.4"}
    assert list(above(quota, pods, 4, SIDECAR, limits)) == []
    found = dict(above({**quota, "requests.cpu": "7.3"}, pods, 4, SIDECAR, limits))
    assert list(found) == ["requests.cpu"]
    assert "7.4 requests.cpu" in found["requests.cpu"]
    assert list(dict(above(quota, pods, 4, SIDECAR, {}))) == ["requests.nvidia.com/gpu", "requests.cpu"]
