"""Where a family trains: the part of a hardware profile that training reads, and the device that it finds."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from tapeline import tensorflow as tf
from tapeline.config.schema import Accelerator, Model
from tapeline.errors import refuse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """Keys of hw."""

    name: str
    threads: int
    required: bool
    accelerator: Accelerator | None


def prepare(section: Model, hw: Device) -> tuple[str, str | None]:
    """The device, and the TensorFlow that trains, if any: it is loaded only where it is needed.

    Raises:
        Refused: `hw.required`, and there is no GPU or the family does not use one.
    """
    if section.trains_with_tensorflow:
        driver = hw.accelerator.driver if hw.accelerator else None
        device = tf.device(hw.threads, driver, required=hw.required)
        return device, tf.load(hw.threads).__version__
    if hw.required:
        what = f"model={section.family} trains on the CPU only"
        raise refuse("hw.required=true", what, "set hw.required=false, or choose another model")
    if hw.accelerator:
        log.info("    %s trains on the CPU: it makes no use of a GPU", section.family)
    return "cpu", None


def half(section: Model, hw: Device) -> Literal["float16", "bfloat16"] | None:
    """The type in which tensor cores multiply, after `prepare`; None where there is no such card.

    They came with compute capability 7.0, and know bfloat16 from 8.0 on.
    """
    card = hw.accelerator
    if card is None or not section.trains_with_tensorflow or not tf.load().config.list_physical_devices("GPU"):
        return None
    capability = float(card.compute_capability)
    return "bfloat16" if capability >= 8.0 else "float16" if capability >= 7.0 else None
