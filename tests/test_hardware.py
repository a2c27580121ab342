"""Profiles of conf/hw: the cards, the images, and that each image's TensorFlow has code for the card."""

from __future__ import annotations

import runpy
from importlib.metadata import distribution

import pytest

from tapeline import __version__
from tapeline.checks.configuration import CODE_FOR
from tapeline.commands import images
from tapeline.config.compose import options
from tapeline.config.schema import Hardware
from tapeline.lookup import configure as compose
from tapeline.serving.saved_model import release
from tests.conftest import ROOT

CARDS = {
    "cpu": (None, None, "cpu"),
    "gpu": ("nvidia-tesla-k80", "3.7", "gpu-k80"),
    "gpu-t4": ("nvidia-tesla-t4", "7.5", "gpu"),
    "gpu-l4": ("nvidia-l4", "8.9", "gpu"),
    "gpu-a100": ("nvidia-tesla-a100", "8.0", "gpu"),
    "gpu-h100": ("nvidia-h100-80gb", "9.0", "gpu"),
}
"""Each profile's card as GKE labels it, its compute capability as NVIDIA lists it, and the image."""

BUILT = {
    "2.14.1": ["sm_35", "sm_50", "sm_60", "sm_70", "sm_75", "compute_80"],
    "2.20.0": ["sm_60", "sm_70", "sm_80", "sm_89", "compute_90"],
}
"""cuda_compute_capabilities in build_info.py of TensorFlow's wheels for Linux."""


def has_code(built: list[str], capability: str) -> bool:
    """As CUDA runs it: machine code on the same major version from its minor one on, PTX on all that follow."""
    card = tuple(map(int, capability.split(".")))
    for text in built:
        kind, _, digits = text.partition("_")
        code = int(digits[:-1]), int(digits[-1])
        if card >= code and (kind == "compute" or card[0] == code[0]):
            return True
    return False


def hardware(profile: str) -> Hardware:
    return compose([f"hw={profile}"]).hw


def test_the_profiles() -> None:
    assert options("hw") == sorted(CARDS)


@pytest.mark.parametrize(("profile", "row"), CARDS.items(), ids=CARDS.keys())
def test_a_profile_names_its_card_and_an_image_with_code_for_it(
    profile: str, row: tuple[str | None, str | None, str]
) -> None:
    hw, (label, capability, image) = hardware(profile), row
    assert hw.name == profile
    assert hw.image == images.tag(image)
    assert hw.image.endswith(f":{__version__}")
    lock = (ROOT / "deploy" / "images" / image / "requirements.lock").read_text().splitlines()
    assert f"tensorflow=={hw.tensorflow}" in lock
    card = hw.accelerator
    assert (card is None) == (capability is None)
    if card and capability:
        assert card.compute_capability == capability
        assert card.model == label
        assert card.node_selector == {"cloud.google.com/gke-accelerator": label}
        assert (card.resource, card.count) == ("nvidia.com/gpu", 1)
        assert has_code(BUILT[hw.tensorflow], capability)
        assert (card.end_of_life is not None) == (profile == "gpu")


@pytest.mark.parametrize("version", BUILT)
def test_the_table_of_checks_agrees_with_the_wheels(version: str) -> None:
    known = {capability for table in CODE_FOR.values() for capability in table}
    assert {each for each in known if has_code(BUILT[version], each)} == set(CODE_FOR[release(version)])


def test_the_wheel_that_is_installed_is_built_as_the_table_says() -> None:
    wheel = distribution("tensorflow")
    record = runpy.run_path(str(wheel.locate_file("tensorflow/python/platform/build_info.py")))["build_info"]
    assert list(record["cuda_compute_capabilities"]) == BUILT[wheel.version]
