"""Points in images: scores over what is known, coordinates that follow an image, and what the report shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tapeline import tensorflow as tf
from tapeline.datasets.faces.shape import LABELS
from tapeline.tasks import keypoints

TARGET = np.array([[10.0, 10, 50, 50], [20, 20, np.nan, np.nan], [np.nan, np.nan, 40, 40]])
PREDICTION = np.array([[13.0, 14, 50, 51], [20, 22, 0, 0], [0, 0, 40, 46]])
SCORED = {"target": TARGET, "prediction": PREDICTION}


def test_scores_are_over_all_known_numbers() -> None:
    found = keypoints.score(SCORED)
    assert found["rmse"] == pytest.approx(np.sqrt((9 + 16 + 0 + 1 + 0 + 4 + 0 + 36) / 8))
    assert found["points"] == pytest.approx([np.sqrt((9 + 16 + 0 + 4) / 4), np.sqrt((0 + 1 + 0 + 36) / 4)])
    assert (found["within_2"], found["within_5"]) == (0.5, 0.75)
    assert (found["rows"], found["labels"]) == (3, 8)


def test_a_point_without_any_label_has_no_error() -> None:
    found = keypoints.score({"target": TARGET[1:2], "prediction": PREDICTION[1:2]})
    assert found["points"] == [pytest.approx(np.sqrt(2)), None]


@pytest.mark.parametrize("metric", [each.name for each in keypoints.METRICS])
def test_sums_over_rows_give_the_score(metric: str) -> None:
    sums = keypoints.sums(metric, SCORED)
    assert float(keypoints.from_sums(metric, sums.sum(axis=0))) == pytest.approx(keypoints.score(SCORED)[metric])


def test_the_baseline_is_the_mean_of_what_is_known() -> None:
    (mean,) = keypoints.baselines(TARGET, None, 2).values()
    np.testing.assert_allclose(mean, [[15, 15, 45, 45]] * 2)


def test_loss_and_trace_leave_out_what_is_missing() -> None:
    tensorflow = tf.load()
    encoded, answers = keypoints.encode(TARGET), keypoints.encode(PREDICTION)
    loss = float(keypoints.loss(tensorflow)(answers, encoded)) * keypoints.HALF**2
    assert loss == pytest.approx(66, rel=1e-5)
    score = float(keypoints.train_score(tensorflow)(answers, encoded))
    assert score == pytest.approx(keypoints.score(SCORED)["rmse"], rel=1e-5)
    assert keypoints.trace_score(PREDICTION, TARGET) == pytest.approx(score, rel=1e-5)
    pixels = keypoints.outputs(tensorflow, answers)["prediction"]
    np.testing.assert_allclose(pixels, PREDICTION, atol=1e-4)


def test_left_and_right_change_places_in_a_mirror_image() -> None:
    order = keypoints.mirrored(LABELS)
    assert LABELS[order[LABELS.index("left_eye_center_x")]] == "right_eye_center_x"
    assert LABELS[order[LABELS.index("mouth_right_corner_y")]] == "mouth_left_corner_y"
    assert order[LABELS.index("nose_tip_x")] == LABELS.index("nose_tip_x")
    assert [order[at] for at in order] == list(range(len(LABELS)))
    values = np.random.default_rng(0).uniform(-1, 1, (2, len(LABELS))).astype(np.float32)
    mirror: Any = keypoints.mirror(tf.load(), values, order)
    assert float(mirror[0, 0]) == -values[0, LABELS.index("right_eye_center_x")]
    np.testing.assert_allclose(keypoints.mirror(tf.load(), mirror, order), values)


def test_a_flipped_face_with_flipped_labels_has_the_same_loss() -> None:
    tensorflow, random = tf.load(), np.random.default_rng(1)
    order = keypoints.mirrored(LABELS)
    target, answers = (random.uniform(-0.9, 0.9, (3, len(LABELS))).astype(np.float32) for _ in range(2))
    target[1, 4:8] = np.nan
    flip, still, all_rows = np.tile(np.diag([-1, 1]).astype(np.float32), (3, 1, 1)), np.zeros((3, 2)), np.full(3, True)
    moved = keypoints.moved(tensorflow, target, flip, still.astype(np.float32), all_rows, order)
    loss = keypoints.loss(tensorflow)
    flipped = loss(keypoints.mirror(tensorflow, answers, order), moved)
    assert float(flipped) == pytest.approx(float(loss(answers, target)), rel=1e-6)


def test_points_that_leave_the_image_are_missing() -> None:
    target = np.array([[0.0, 0.0, 0.95, 0.2]], np.float32)
    shift = np.array([[0.1, 0.0]], np.float32)
    moved = keypoints.moved(
        tf.load(), target, np.eye(2, dtype=np.float32)[None], shift, np.array([False]), (0, 1, 2, 3)
    )
    np.testing.assert_allclose(moved, [[0.1, 0, np.nan, np.nan]])


def test_the_report_shows_the_best_the_worst_and_some_between() -> None:
    gaps = np.random.default_rng(2).permutation(100).astype(float)
    target = np.zeros((100, 2))
    target[7] = np.nan
    chosen = keypoints.examples({"target": target, "prediction": np.stack([gaps, gaps], axis=1)})
    assert len(chosen) <= 32
    assert (np.diff(chosen) > 0).all()
    assert 7 not in chosen
    order = [row for row in np.argsort(gaps) if row != 7]
    assert {*order[:8], *order[-8:]} <= set(chosen.tolist())


def test_the_profile_counts_sets_of_labels() -> None:
    found = keypoints.describe(np.arange(3), TARGET, ("a_x", "a_y", "b_x", "b_y"))["known"]
    assert (found["points"], found["rows"], found["complete"]) == (["a", "b"], [2, 2], 1)
    assert sum(each["rows"] for each in found["patterns"]) == 3
