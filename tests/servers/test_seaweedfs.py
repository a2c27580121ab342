"""The store on a real S3 server: what tests/serving/test_object_storage.py shows with moto, with SeaweedFS."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapeline.errors import Refused
from tapeline.serving.store import operations, sync, versions
from tests.serving.conftest import s3
from tests.serving.publishing import fake_servable, publish, serving
from tests.serving.test_object_storage import (
    _no_verify,
    check_mirror,
    test_a_killed_publisher_leaves_no_incomplete_version,
    test_a_put_that_is_sent_again_returns_the_same_etag,
    test_a_rollback_covers_both_numbers_of_a_model_that_was_added_twice,
    test_append_keeps_the_lines_of_concurrent_writers,
    test_concurrent_processes_get_different_numbers,
    test_concurrent_publishers_get_different_numbers_and_keep_each_others_changes,
    test_open_version_gives_a_temporary_folder,
    test_put_is_conditional_on_the_etag,
    test_removing_and_pinning_at_the_same_time_keep_the_pinned_versions,
)

__all__ = [
    "_no_verify",
    "s3",
    "test_a_killed_publisher_leaves_no_incomplete_version",
    "test_a_put_that_is_sent_again_returns_the_same_etag",
    "test_a_rollback_covers_both_numbers_of_a_model_that_was_added_twice",
    "test_append_keeps_the_lines_of_concurrent_writers",
    "test_concurrent_processes_get_different_numbers",
    "test_concurrent_publishers_get_different_numbers_and_keep_each_others_changes",
    "test_open_version_gives_a_temporary_folder",
    "test_put_is_conditional_on_the_etag",
    "test_removing_and_pinning_at_the_same_time_keep_the_pinned_versions",
]

pytestmark = pytest.mark.servers


@pytest.fixture
def url(s3: str) -> str:
    """An empty store."""
    return s3


def test_a_canary_is_promoted_rolled_back_and_mirrored(s3: str, tmp_path: Path) -> None:
    made = {letter: fake_servable(tmp_path, letter * 12) for letter in "abc"}
    for letter in "ab":
        publish(s3, made[letter])
    operations.canary(made["c"], tmp_path / "metrics.json", s3, serving())
    seen = []
    for change in (None, lambda: operations.promote(None, s3, serving()), lambda: operations.rollback(s3, serving())):
        if change:
            change()
        sync.once(s3, tmp_path / "mirror")
        check_mirror(tmp_path / "mirror")
        there = versions.read(s3, "m")
        live, canary = there.live(), there.canary()
        assert live is not None
        seen.append((live.number, canary and canary.number))
        assert versions.read(tmp_path / "mirror", "m").state.pins == there.state.pins
    assert seen == [(2, 3), (3, None), (2, None)]
    with pytest.raises(Refused, match="was rolled back"):
        publish(s3, made["c"])
