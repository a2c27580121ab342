"""LightGBM's text format, read: trees, and the codes of features that decide their splits.

Features become small codes: how many of the thresholds lie below a value, or that it is missing.
Every rule of LightGBM about missing values, zeros and categories is then a question of which codes
go left at a node, answered once and not for each row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

TINY = np.finfo(np.float32).tiny
MISSING = ("none", "zero", "nan")
"""LightGBM's missing_type, by the number in bits 2 and 3 of decision_type."""


@dataclass(frozen=True)
class Tree:
    """A tree; inner nodes count from 0, the root, and a child c < 0 is leaf ~c."""

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    """Lower or equal goes left."""
    categories: tuple[frozenset[int] | None, ...]
    """Go left; None where the node compares with its threshold."""
    default_left: tuple[bool, ...]
    missing: tuple[str, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    values: tuple[float, ...]
    """Of the leaves."""


NOTHING = Tree((), (), (), (), (), (), (), (0.0,))
"""Stands for a booster without trees."""


@dataclass(frozen=True)
class Forest:
    """A booster."""

    trees: tuple[Tree, ...]
    """Of each round in turn, one for each class."""
    classes: int
    """Scores a row: 1 but for several classes."""
    average: bool
    """Predictions follow from the mean over rounds (boosting=rf), not from the sum."""
    objective: str
    sigmoid: float
    """Factor of the raw score in a probability."""


@dataclass(frozen=True)
class Scale:
    """How a feature's values become codes: 0 is missing, else 1 and the number of bounds below the value."""

    feature: int
    missing: str
    bounds: Array
    """float32, ascending. Features are float32, so a bound rounded down to it splits them alike."""
    categories: tuple[int, ...] | None
    """Where the feature is categorical: of codes 2 and up, each; code 1 is below all categories."""

    @property
    def codes(self) -> int:
        """How many there are."""
        return len(self.bounds) + 2

    def lefts(self, tree: Tree, node: int) -> Array:
        """For each code whether it goes left at the node: bool [codes]."""
        wanted = tree.categories[node]
        if wanted is not None:
            assert self.categories is not None
            return np.array([False, False, *(category in wanted for category in self.categories)])
        bound = rounded_down(tree.threshold[node])
        left = np.arange(self.codes) <= np.searchsorted(self.bounds, bound) + 1
        left[0] = tree.threshold[node] >= 0 if self.missing == "none" else tree.default_left[node]
        return left


UNUSED = Scale(0, "nan", np.zeros(1, np.float32), None)
"""Stands for the features of a booster that asks for none."""


def parse(text: str) -> Forest:
    """A booster from LightGBM's text format.

    Raises:
        ValueError: it has linear leaves, or an objective that turns scores in a way not known here.
    """
    header, *trees = text.partition("\nend of trees")[0].split("\nTree=")
    keys = _keys(header)
    objective, *arguments = keys.get("objective", "regression").split()
    if objective not in ("regression", "binary", "multiclass"):
        raise ValueError(f"objective {objective}")
    options = dict(argument.partition(":")[::2] for argument in arguments)
    if "sqrt" in options:
        raise ValueError("objective regression sqrt")
    classes = int(keys["num_tree_per_iteration"])
    return Forest(
        trees=tuple(_tree(_keys(tree)) for tree in trees) or (NOTHING,) * classes,
        classes=classes,
        average="average_output" in keys,
        objective=objective,
        sigmoid=float(options.get("sigmoid", 1)),
    )


def _keys(text: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in text.splitlines())


def _tree(keys: Mapping[str, str]) -> Tree:
    if keys.get("is_linear", "0") != "0":
        raise ValueError("linear leaves")

    def integers(key: str) -> tuple[int, ...]:
        return tuple(map(int, keys.get(key, "").split()))

    kinds = integers("decision_type")
    thresholds = tuple(map(float, keys.get("threshold", "").split()))
    bits = integers("cat_threshold")
    sets = [_members(bits[first:last]) for first, last in pairwise(integers("cat_boundaries"))]
    return Tree(
        feature=integers("split_feature"),
        threshold=thresholds,
        categories=tuple(sets[int(at)] if kind & 1 else None for kind, at in zip(kinds, thresholds, strict=True)),
        default_left=tuple(bool(kind & 2) for kind in kinds),
        missing=tuple(MISSING[kind >> 2 & 3] for kind in kinds),
        left=integers("left_child"),
        right=integers("right_child"),
        # adding 0 makes +0 of -0: the booster's sums start with +0
        values=tuple(float(value) + 0.0 for value in keys["leaf_value"].split()),
    )


def _members(bits: Sequence[int]) -> frozenset[int]:
    """The numbers of the bits that are set."""
    return frozenset(32 * at + bit for at, number in enumerate(bits) for bit in range(32) if number >> bit & 1)


def rounded_down(value: float) -> np.float32:
    """The largest float32 that is not above the value, without the subnormal ones: TensorFlow takes them for 0."""
    with np.errstate(over="ignore"):
        near = np.float32(value)
    if float(near) > value:
        near = np.nextafter(near, np.float32(-np.inf))
    if 0 < abs(near) < TINY:
        return np.float32(0) if near > 0 else -TINY
    return near


def _below(value: int) -> np.float32:
    """The largest float32 that is below the value."""
    near = rounded_down(value)
    return np.nextafter(near, np.float32(-np.inf)) if float(near) == value else near


def scales(forest: Forest) -> list[Scale]:
    """The scale of each feature that a tree asks for, at least one.

    Raises:
        ValueError: trees take a feature in different ways.
    """
    thresholds: dict[int, set[float]] = {}
    members: dict[int, set[int]] = {}
    missing: dict[int, str] = {}
    for tree in forest.trees:
        nodes = zip(tree.feature, tree.threshold, tree.categories, tree.missing, strict=True)
        for feature, threshold, categories, kind in nodes:
            if categories is None:
                thresholds.setdefault(feature, set()).add(threshold)
                if missing.setdefault(feature, kind) != kind:
                    raise ValueError(f"feature {feature} is missing in two ways")
            else:
                members.setdefault(feature, set()).update(categories)
    if both := thresholds.keys() & members.keys():
        raise ValueError(f"feature {min(both)} is a number here and a category there")
    found = [Scale(feature, missing[feature], _numeric(ts), None) for feature, ts in thresholds.items()]
    found += [_categorical(feature, categories) for feature, categories in members.items()]
    return sorted(found, key=lambda scale: scale.feature) or [UNUSED]


def _numeric(thresholds: set[float]) -> Array:
    return np.unique(np.array([rounded_down(threshold) for threshold in thresholds], np.float32))


def _categorical(feature: int, members: set[int]) -> Scale:
    """Bounds before each category and behind it; values are cut towards 0, so -0.9 is category 0."""
    starts = {category + more for category in members for more in (0, 1)}
    # float32 cannot tell apart all large categories: of those behind one bound only the last occurs
    at = {float(_below(start) if start else np.float32(-1)): start for start in sorted(starts)}
    return Scale(feature, "nan", np.array(list(at), np.float32), tuple(at.values()))
