"""The convolutional network on 500 real faces: 400 train, 100 test, with all labels and with the genuine gaps.

The training is that of experiment=faces_conv without validation rows.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import polars as pl
import pytest

from tapeline import lookup
from tapeline.datasets.faces import near_duplicates
from tapeline.datasets.faces.reading import read_faces
from tapeline.datasets.faces.shape import LABELS
from tapeline.models import Rows, Training, conv
from tapeline.tables import splits
from tapeline.tasks import keypoints
from tests.conftest import DATA

pytestmark = pytest.mark.results
Array = np.ndarray[Any, Any]
SMALL, GENUINE = (DATA / "faces" / f"{name}.csv.gz" for name in ("training_small_500", "kaggle_labels_7049"))
KEYS = ["experiment=faces_conv", "model.report_every=2000", "model.patience=null"]


@pytest.fixture(scope="module")
def faces() -> tuple[Array, Array]:
    """Images and labels."""
    if not (SMALL.is_file() and GENUINE.is_file()):
        pytest.skip(f"the real data is not here ({SMALL}); set TAPELINE_DATA")
    raw = read_faces(pl.scan_csv(SMALL, infer_schema=False), SMALL.name, None)
    images = np.frombuffer(b"".join(raw["image"].to_list()), np.uint8).reshape(-1, 96, 96)
    return images, raw.select(LABELS).to_numpy().astype(float)


def sides(images: Array, seed: int) -> tuple[Array, Array]:
    """Rows to train and to test, drawn as split=by_group does."""
    groups = np.array(near_duplicates.groups_of(images, [None] * len(images)))
    chosen = lookup.configure(["dataset=faces", f"split.seed={seed}"]).split
    (window,) = splits.periods(chosen, groups, None)
    train, test = window.rows(groups, "train"), window.rows(groups, "test")
    assert not isinstance(train, slice)
    assert not isinstance(test, slice)
    return train, test


def error(train: Rows, test: Rows, seed: int) -> float:
    """RMSE in pixels over all labels of the test rows."""
    section: Any = lookup.configure(KEYS).model
    begun = time.process_time()
    training = Training(lookup.task("keypoints"), seed, lambda *_: None, outputs=LABELS)
    model, _ = conv.fit(section, train, None, training)
    scored = {"target": test.target, "prediction": conv.predict(model, test.features)["prediction"]}
    rmse = float(keypoints.score(scored)["rmse"])
    print(
        f"seed {seed}: {len(train.target)} train, rmse {rmse:.3f}, {time.process_time() - begun:.0f} s of CPU",
        flush=True,
    )
    return rmse


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_real_faces_with_all_labels_and_with_the_genuine_gaps(faces: tuple[Array, Array], seed: int) -> None:
    images, labels = faces
    rows, held = sides(images, seed)
    assert abs(len(rows) - 400) <= 5
    test = Rows(images[held], labels[held])
    assert error(Rows(images[rows], labels[rows]), test, seed) < 3.6
    genuine = pl.read_csv(GENUINE).select(LABELS).to_numpy()
    drawn = np.random.default_rng(seed).choice(len(genuine), len(rows), replace=False)
    gaps = np.where(np.isfinite(genuine[drawn].astype(float)), labels[rows], np.nan)
    complete = np.isfinite(gaps).all(axis=1)
    with_gaps = error(Rows(images[rows], gaps), test, seed)
    assert with_gaps < 4.1
    assert with_gaps < error(Rows(images[rows][complete], gaps[complete]), test, seed)
