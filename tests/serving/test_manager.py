from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tapeline.serving.models_config import ModelConfig, parse
from tapeline.serving.servers.loaded_model import LoadedModel
from tapeline.serving.servers.manager import Manager
from tapeline.serving.servers.request_error import RequestError


class Session:
    closed = False

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class Loader:
    """Loads nothing, and records the version numbers it is called with; the versions in `broken` fail."""

    def __init__(self) -> None:
        self.called: list[int] = []
        self.broken: set[int] = set()

    def __call__(self, name: str, number: int, folder: Path, threads: int) -> LoadedModel:
        self.called.append(number)
        if number in self.broken:
            raise ValueError("it is broken")
        return LoadedModel(name, number, Session(), {})


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def manager(loader: Loader) -> Manager:
    return Manager(1, loader)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base_path with the versions 1, 2 and 10."""
    for number in ("1", "2", "10", "x", "007", "\u0663", "\u00b2"):
        (tmp_path / number).mkdir()
        (tmp_path / number / "saved_model.pb").touch()
    return tmp_path


def pinned(base: Path, *numbers: int) -> dict[str, ModelConfig]:
    return {"m": ModelConfig("m", base, specific=numbers)}


def live(manager: Manager) -> int:
    with manager.acquire("m") as loaded:
        return loaded.number


def test_a_version_is_unloaded_when_its_last_request_ends(manager: Manager, base: Path) -> None:
    manager.serve(pinned(base, 1))
    with manager.acquire("m") as first:
        with manager.acquire("m", 1):
            manager.serve(pinned(base, 2))
            assert live(manager) == 2
            assert manager.statuses("m", 1)[1].state == "UNLOADING"
        assert not first.session.closed
        with pytest.raises(RequestError, match=r"Specific\(m, 1\)"), manager.acquire("m", 1):
            pass
    assert first.session.closed
    assert {number: status.state for number, status in manager.statuses("m").items()} == {2: "AVAILABLE", 1: "END"}


def test_a_version_is_loaded_again_while_a_request_uses_its_first_copy(manager: Manager, base: Path) -> None:
    manager.serve(pinned(base, 1))
    with manager.acquire("m") as old:
        manager.serve(pinned(base, 2))
        manager.serve(pinned(base, 1))
        with manager.acquire("m") as new:
            assert new is not old
    assert old.session.closed
    assert not new.session.closed
    assert manager.statuses("m", 1)[1].state == "AVAILABLE"


def test_a_version_that_failed_to_load_is_retried_when_the_config_changes(
    manager: Manager, loader: Loader, base: Path
) -> None:
    loader.broken = {2}
    manager.serve(pinned(base, 1))
    manager.serve(pinned(base, 2))
    manager.refresh()
    assert (live(manager), loader.called) == (1, [1, 2])
    assert manager.not_live() == ["m version 2 is not served: it is broken"]
    loader.broken = set()
    manager.serve(pinned(base, 1))
    manager.serve(pinned(base, 2))
    assert live(manager) == 2


def test_models_config_replaces_a_reload_at_the_next_poll(manager: Manager, base: Path) -> None:
    config = base / "models.config"
    config.write_text(f"model_config_list {{ config {{ name: 'm' base_path: '{base}' }} }}")
    manager.poll_config(config)
    assert live(manager) == 10
    for asked in ({}, pinned(base, 1)):
        manager.serve(asked)
        assert 10 not in manager.live("m")
        manager.poll_config(config)
        assert manager.live("m") == [10]


def test_version_policies(manager: Manager, base: Path) -> None:
    manager.serve({"m": ModelConfig("m", base)})
    assert live(manager) == 10
    manager.serve({"m": ModelConfig("m", base, latest=2)})
    assert [number for number, status in manager.statuses("m").items() if status.state == "AVAILABLE"] == [10, 2]
    manager.serve({"m": ModelConfig("m", base, latest=0)})
    assert set(manager.statuses("m")) == {10, 2, 1}
    manager.serve({})
    with pytest.raises(RequestError, match=r"Latest\(m\)"):
        live(manager)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("model_config_list {}", {}),
        (
            "model_config_list { config { name: 'm' base_path: '/x' model_platform: 'tensorflow' } }",
            {"m": ModelConfig("m", Path("/x"))},
        ),
        (
            "model_config_list: {config {name: 'm', base_path: '/x', model_version_policy {specific {versions: 3}}}}",
            {"m": ModelConfig("m", Path("/x"), specific=(3,))},
        ),
        (
            "model_config_list { config { name: 'm' base_path: '/x' model_version_policy { all {} } } }",
            {"m": ModelConfig("m", Path("/x"), latest=0)},
        ),
    ],
)
def test_models_config_is_parsed(text: str, expected: Any) -> None:
    assert parse(text.encode()) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_config_list {", "is not TF Serving's model_config_list"),
        ("\xff", "is not TF Serving's model_config_list"),
        ("model_config_list { config { name: 'm' } }", "without name or base_path"),
        ("model_config_list { config { name: 'm' base_path: 's3://x' } }", "is not a local folder"),
        ("model_config_list { config { name: 'm' base_path: '/x' model_platform: 'p' } }", "is not served"),
        ("model_config_list {" + 2 * " config { name: 'm' base_path: '/x' }" + "}", "twice"),
    ],
)
def test_a_models_config_that_is_not_valid_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text.encode("latin-1"))
