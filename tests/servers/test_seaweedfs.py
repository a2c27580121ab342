"""The store on a real S3 server: what tests/serving/test_object_storage.py shows with moto, with SeaweedFS."""

from __future__ import annotations

import pytest

from tests.serving.conftest import s3
from tests.serving.test_object_storage import (
    _no_verify,
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
