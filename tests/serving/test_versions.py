from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tapeline.serving.models_config import Wanted, parse
from tapeline.serving.servers.loaded import Failure, Loaded
from tapeline.serving.servers.versions import Versions


class Session:
    closed = False

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class Loader:
    """Loads nothing; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.broken: set[int] = set()

    def __call__(self, name: str, number: int, folder: Path, threads: int) -> Loaded:
        self.asked.append(number)
        if number in self.broken:
            raise ValueError("it is broken")
        return Loaded(name, number, Session(), {})


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def versions(loader: Loader) -> Versions:
    return Versions(1, loader)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for number in ("1", "2", "10", "x"):
        (tmp_path / number).mkdir()
        (tmp_path / number / "saved_model.pb").touch()
    return tmp_path


def pinned(base: Path, *numbers: int) -> dict[str, Wanted]:
    return {"m": Wanted("m", base, specific=numbers)}


def live(versions: Versions) -> int:
    with versions.borrow("m") as loaded:
        return loaded.number


def test_a_held_version_is_unloaded_only_when_it_is_given_back(versions: Versions, base: Path) -> None:
    versions.want(pinned(base, 1))
    with versions.borrow("m") as first:
        with versions.borrow("m", 1):
            versions.want(pinned(base, 2))
            assert live(versions) == 2
            assert versions.states("m", 1)[1].state == "UNLOADING"
        assert not first.session.closed
        with pytest.raises(Failure, match=r"Specific\(m, 1\)"), versions.borrow("m", 1):
            pass
    assert first.session.closed
    assert {number: state.state for number, state in versions.states("m").items()} == {2: "AVAILABLE", 1: "END"}


def test_back_to_a_version_that_is_still_held(versions: Versions, base: Path) -> None:
    versions.want(pinned(base, 1))
    with versions.borrow("m") as old:
        versions.want(pinned(base, 2))
        versions.want(pinned(base, 1))
        with versions.borrow("m") as new:
            assert new is not old
    assert old.session.closed
    assert not new.session.closed
    assert versions.states("m", 1)[1].state == "AVAILABLE"


def test_a_failed_version_is_not_tried_at_every_poll(versions: Versions, loader: Loader, base: Path) -> None:
    loader.broken = {2}
    versions.want(pinned(base, 1))
    versions.want(pinned(base, 2))
    versions.refresh()
    assert (live(versions), loader.asked) == (1, [1, 2])
    assert versions.missing() == ["m version 2 is not served: it is broken"]
    loader.broken = set()
    versions.want(pinned(base, 1))
    versions.want(pinned(base, 2))
    assert live(versions) == 2


def test_policies(versions: Versions, base: Path) -> None:
    versions.want({"m": Wanted("m", base)})
    assert live(versions) == 10
    versions.want({"m": Wanted("m", base, latest=2)})
    assert [number for number, state in versions.states("m").items() if state.state == "AVAILABLE"] == [10, 2]
    versions.want({"m": Wanted("m", base, latest=0)})
    assert set(versions.states("m")) == {10, 2, 1}
    versions.want({})
    with pytest.raises(Failure, match=r"Latest\(m\)"):
        live(versions)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", None),
        ("model_config_list {}", {}),
        (
            "model_config_list { config { name: 'm' base_path: '/x' model_platform: 'tensorflow' } }",
            {"m": Wanted("m", Path("/x"))},
        ),
        (
            "model_config_list: {config {name: 'm', base_path: '/x', model_version_policy {specific {versions: 3}}}}",
            {"m": Wanted("m", Path("/x"), specific=(3,))},
        ),
        (
            "model_config_list { config { name: 'm' base_path: '/x' model_version_policy { all {} } } }",
            {"m": Wanted("m", Path("/x"), latest=0)},
        ),
    ],
)
def test_models_config(text: str, wanted: Any) -> None:
    assert parse(text.encode()) == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model_config_list {", "is not TF Serving's model_config_list"),
        ("\xff", "is not TF Serving's model_config_list"),
        ("model_config_list { config { name: 'm' } }", "without name or base_path"),
        ("model_config_list { config { name: 'm' base_path: 's3://x' } }", "is no local folder"),
        ("model_config_list { config { name: 'm' base_path: '/x' model_platform: 'p' } }", "is not served"),
        ("model_config_list {" + 2 * " config { name: 'm' base_path: '/x' }" + "}", "twice"),
    ],
)
def test_models_configs_that_cannot_be_served(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(text.encode("latin-1"))
