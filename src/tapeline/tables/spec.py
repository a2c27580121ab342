"""Features that the served model computes itself, from what a client has at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Input:
    """A signature beside `predictors`: one input of the same name, and the way from it to features."""

    name: str
    shape: tuple[int, ...]
    """Of one row of a batch; a row of ones has an answer."""
    dtype: str
    features: Callable[[Any], Any]
    """Tensor [rows, *shape] to float32 [rows, features], TensorFlow only; NaN makes a row without answer."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What a client has to know beside: the order of columns, say."""
