"""A convolutional network trained by two workers: the model of one, and a lost worker."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tapeline import lookup
from tapeline.datasets import faces
from tapeline.datasets.faces.shape import LABELS
from tapeline.errors import Lost, Refused
from tapeline.models import Machines, Rows, Training, conv
from tapeline.models.network import storage
from tapeline.tables import writing
from tapeline.workers import joining
from tests.faces import TINY, pixels
from tests.steps.test_train_workers import at_work, children, led

KEYS = (*TINY, "model.dropout=0.2", "model.batch_rows=7", "model.steps=30")
OF_WINDOWS = (
    ("model.normalisation=group", "model.patience=1", "model.learning_rate=0.03"),
    ("model.normalisation=batch", "model.patience=2"),
)


def fitted(folder: Path, number: int, machines: Machines | None) -> list[float]:
    """Train, save, and return the trace."""
    frame = faces.simulate(number, 40)
    images, target = pixels(frame), frame.select(LABELS).to_numpy()
    section = lookup.configure([*KEYS, *OF_WINDOWS[number]]).model
    assert isinstance(section, conv.Section)
    training = Training(lookup.task("keypoints"), 3, lambda *_: None, outputs=LABELS, machines=machines)
    rows, held = (Rows(images[part], target[part]) for part in (slice(30), slice(30, 40)))
    model, trace = conv.fit(section, rows, held, training)
    folder.mkdir(parents=True, exist_ok=True)
    conv.save(model, folder)
    return [each.validation for each in trace if each.validation is not None]


def member(folder: Path, link: joining.Link) -> None:
    for number in range(len(OF_WINDOWS)):
        machines = Machines(link.rank, link.meet())
        link.trained(trace=fitted(folder / str(number) / str(link.rank), number, machines))


@pytest.mark.long
def test_two_workers_give_the_model_of_one_and_both_have_it(tmp_path: Path) -> None:
    said = led(partial(member, tmp_path), len(OF_WINDOWS))
    for number, both in enumerate(said):
        assert both[0]["trace"] == both[1]["trace"]
        first, second = ((tmp_path / str(number) / rank / "network.npz").read_bytes() for rank in "01")
        assert first == second
    # batch normalisation is of each part, so that the second model is another one
    assert said[0][0]["trace"] == pytest.approx(fitted(tmp_path / "alone", 0, None), rel=1e-3)
    # sums in another order grow, as Adam divides by small gradients; 30 steps move a weight by up to .9
    one, two = (storage.read(folder / "network.npz") for folder in (tmp_path / "alone", tmp_path / "0" / "0"))
    for name in one.keys() - {"about"}:
        np.testing.assert_allclose(two[name], one[name], rtol=5e-3, atol=5e-3)


def test_more_workers_than_rows_of_a_step_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"hw\.workers=8: a step has 7 rows; set model\.batch_rows=8"):
        fitted(tmp_path, 0, Machines(0, ("127.0.0.1:1",) * 8))


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_lost_worker_of_a_network_ends_the_step(tmp_path: Path) -> None:
    keys = lookup.configure(list(KEYS)).dataset
    assert isinstance(keys, faces.Section)
    manifest, parts = faces.table(keys, faces.ingest(keys, faces.simulate(0, 40).lazy(), "simulated"))
    writing.write(tmp_path / "table", manifest, ((name, part) for name, part in parts))
    more = ("model.steps=1000000", "model.report_every=20", "model.patience=null", "hw.workers=2")
    of_step = [each for each in KEYS if not each.startswith(("gate", "model.steps", "model.report"))]
    command = ["step", "train", *of_step]
    with at_work(*command, *more, "--in", f"table={tmp_path}/table", "--out", f"fitted={tmp_path}/fitted") as process:
        assert process.stdout
        assert any("step 20 of" in each for each in process.stdout)
        os.kill(children(process)[1], signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    assert process.returncode == Lost.code
    assert said.startswith("tapeline: hw.workers=2: worker 1 on 127.0.0.1 was lost")
    assert said.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["table"]
