"""Boosted trees as tensor operations: LightGBM's text in, a tf.Module with the booster's raw scores out.

Sums go tree by tree, as the booster's do, so raw scores are equal bit for bit; probabilities follow
TensorFlow's exp, which differs from the C library's in the last digit. Two kernels:

    tables   trees of at most 32 leaves: for each code of each feature, the leaves that it leaves
             possible, one int32 a tree; a row's leaf is the lowest bit left when all features agree
    walk     larger trees, and many features: from the root to a leaf, all rows and trees at once
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tapeline import tensorflow as tf
from tapeline.models.lightgbm.text_format import Forest, Scale, Tree, scales

Array = np.ndarray[Any, Any]

LEAVES = 32
"""Bits of a mask."""
FEATURES = 128
"""Above this the tables kernel, which does something for each feature, loses to the walk."""
TREES = 64
"""Columns of a block of the tables, about: few enough that codes of one feature coincide."""
ROWS = 2048
"""At once: 300 trees need 10 MB for so many rows."""
ZERO = np.float32(1e-35)
"""LightGBM's kZeroThreshold: nearer than this to 0 is zero, where zero means missing."""


def servable(forest: Forest) -> Callable[[Any], dict[str, Any]]:
    """The trees as a tf.Module: float32 [rows, features] to `raw_score` and what the objective makes of it."""
    tensorflow = tf.load()
    known = scales(forest)
    small = len(known) <= FEATURES and all(len(tree.values) <= LEAVES for tree in forest.trees)
    kernel = _tables if small else _walk
    arrays = {**_of_codes(known), **(_of_tables if small else _of_walk)(forest, known)}
    arrays["rounds"] = np.array(len(forest.trees) / forest.classes)

    class Module(tensorflow.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.arrays = {name: tensorflow.Variable(array, trainable=False) for name, array in arrays.items()}

        def __call__(self, predictors: Any) -> dict[str, Any]:
            def scores(rows: Any) -> Any:
                return _sum(kernel(self.arrays, _codes(self.arrays, rows)), forest.classes)

            raw = _in_parts(scores, predictors, forest.classes)
            return _outputs(forest, raw, self.arrays["rounds"])

    module: Callable[[Any], dict[str, Any]] = Module()
    return module


def _in_parts(function: Callable[[Any], Any], rows: Any, width: int) -> Any:
    """function(rows), for a few rows at a time where there are many."""
    tensorflow = tf.load()
    count = tensorflow.shape(rows)[0]

    def parts() -> Any:
        number = -(-count // ROWS)
        done = tensorflow.TensorArray(tensorflow.float64, number, infer_shape=False, element_shape=[None, width])

        def body(at: Any, done: Any) -> Any:
            return at + 1, done.write(at, function(rows[at * ROWS : (at + 1) * ROWS]))

        return tensorflow.while_loop(lambda at, _: at < number, body, (0, done), parallel_iterations=1)[1].concat()

    return tensorflow.cond(count <= ROWS, lambda: function(rows), parts)


def _of_codes(known: Sequence[Scale]) -> dict[str, Array]:
    widest = max(len(scale.bounds) for scale in known)
    bounds = np.full((len(known), widest), np.inf, np.float32)
    for at, scale in enumerate(known):
        bounds[at, : len(scale.bounds)] = scale.bounds
    return {
        "features": np.array([scale.feature for scale in known], np.int32),
        "bounds": bounds,
        "zero": np.array([[scale.missing == "zero"] for scale in known], bool),
        "first_code": np.cumsum([0, *(scale.codes for scale in known)])[:-1, None].astype(np.int32),
    }


def _codes(arrays: Mapping[str, Any], rows: Any) -> Any:
    """int32 [features, rows], features counted on from each other."""
    tensorflow = tf.load()
    values = tensorflow.transpose(tensorflow.gather(rows, arrays["features"], axis=1))
    missing = tensorflow.math.is_nan(values) | (arrays["zero"] & (tensorflow.abs(values) <= ZERO))
    below = tensorflow.raw_ops.LowerBound(sorted_inputs=arrays["bounds"], values=values)
    return tensorflow.where(missing, 0, below + 1) + arrays["first_code"]


def _of_tables(forest: Forest, known: Sequence[Scale]) -> dict[str, Array]:
    rows, masks = tables(forest, known)
    count = rows.shape[1] * masks.shape[1]
    values = np.zeros((count, LEAVES))  # those of trees that only fill up a block add 0
    for at, tree in enumerate(forest.trees):
        values[at, : len(tree.values)] = np.array(tree.values)[_leaves(tree, 0)]
    first_leaf = LEAVES * np.arange(count, dtype=np.int32)
    return {"rows": rows, "masks": masks, "first_leaf": first_leaf, "values": values.reshape(-1)}


def _tables(arrays: Mapping[str, Any], codes: Any) -> Any:
    """Each tree's value: float64 [rows, trees]."""
    tensorflow = tf.load()
    trees = arrays["first_leaf"].shape[0]
    possible = tensorflow.fill([tensorflow.shape(codes)[1], trees], -1)
    for at in tensorflow.unstack(tensorflow.gather(arrays["rows"], codes)):
        masks = tensorflow.reshape(tensorflow.gather(arrays["masks"], at), [-1, trees])
        possible = tensorflow.bitwise.bitwise_and(possible, masks)
    up_to_lowest = tensorflow.raw_ops.PopulationCount(x=tensorflow.bitwise.bitwise_xor(possible, possible - 1))
    leaf = tensorflow.cast(up_to_lowest, tensorflow.int32) + (arrays["first_leaf"] - 1)
    return tensorflow.gather(arrays["values"], leaf)


def _of_walk(forest: Forest, known: Sequence[Scale]) -> dict[str, Array]:
    """All nodes and leaves, tree after tree; a leaf is a node that leads to itself."""
    place = {scale.feature: at for at, scale in enumerate(known)}
    first_code = np.cumsum([0, *(scale.codes for scale in known)])
    rules: dict[bytes, int] = {}  # what goes left is the same at many nodes
    nodes: list[tuple[int, int, int, int, float]] = []
    roots, size = [], 0
    for tree in forest.trees:
        root, leaf = len(nodes), len(nodes) + len(tree.feature)
        roots.append(root)
        for node, feature in enumerate(tree.feature):
            at = place[feature]
            rule = known[at].lefts(tree, node).tobytes()
            if rule not in rules:
                rules[rule], size = size, size + len(rule)
            right, left = (root + c if c >= 0 else leaf + ~c for c in (tree.right[node], tree.left[node]))
            nodes.append((at, rules[rule] - int(first_code[at]), right, left, 0.0))
        nodes += [(0, 0, at, at, value) for at, value in enumerate(tree.values, leaf)]
    scale, offset, right_child, left_child, values = map(np.array, zip(*nodes, strict=True))
    return {
        "roots": np.array(roots, np.int32),
        "depth": np.array(max(map(_depth, forest.trees)), np.int32),
        "scale": scale.astype(np.int32),
        "offset": offset.astype(np.int32),
        "goes_left": np.frombuffer(b"".join(rules), np.uint8),
        "children": np.stack([right_child, left_child], axis=1).astype(np.int32).reshape(-1),
        "values": values,
    }


def _depth(tree: Tree) -> int:
    """The longest way from the root, in steps."""
    depth, level = 0, [0] if tree.feature else []
    while level:
        level = [child for node in level for child in (tree.left[node], tree.right[node]) if child >= 0]
        depth += 1
    return depth


def _walk(arrays: Mapping[str, Any], codes: Any) -> Any:
    """Each tree's value: float64 [rows, trees]."""
    tensorflow = tf.load()
    rows = tensorflow.shape(codes)[1]
    row = tensorflow.range(rows)[:, None]
    flat = tensorflow.reshape(codes, [-1])

    def step(at: Any, node: Any) -> Any:
        code = tensorflow.gather(flat, tensorflow.gather(arrays["scale"], node) * rows + row)
        left = tensorflow.gather(arrays["goes_left"], tensorflow.gather(arrays["offset"], node) + code)
        return at + 1, tensorflow.gather(arrays["children"], 2 * node + tensorflow.cast(left, tensorflow.int32))

    start = tensorflow.tile(arrays["roots"][None, :], [rows, 1])
    leaf = tensorflow.while_loop(lambda at, _: at < arrays["depth"], step, (0, start))[1]
    return tensorflow.gather(arrays["values"], leaf)


def _sum(values: Any, classes: int) -> Any:
    """Raw scores, float64 [rows, classes], summed in the booster's order: reduce_sum takes another."""
    tensorflow = tf.load()
    rounds = tensorflow.reshape(values, [-1, values.shape[1] // classes, classes])
    return tensorflow.cumsum(rounds, axis=1)[:, -1]


def _outputs(forest: Forest, raw: Any, rounds: Any) -> dict[str, Any]:
    """What the booster answers; `raw_score` is the sum also where it averages.

    `rounds` is a variable: by a constant TensorFlow would not divide, but multiply with its inverse.
    """
    tensorflow = tf.load()
    score = raw / rounds if forest.average else raw
    if forest.classes == 1 and forest.objective != "binary":
        return {"prediction": score, "raw_score": raw[:, 0]}
    if forest.objective == "binary":
        raw, down = raw[:, 0], 1 / (1 + tensorflow.exp(-forest.sigmoid * score[:, 0]))
        prediction = tensorflow.cast(raw > 0, tensorflow.int64)
        return {"prediction": prediction, "probability": tensorflow.stack([1 - down, down], axis=1), "raw_score": raw}
    return {"prediction": tensorflow.argmax(raw, axis=1), "probability": tensorflow.nn.softmax(score), "raw_score": raw}


def tables(forest: Forest, known: Sequence[Scale]) -> tuple[Array, Array]:
    """The masks of the tables kernel, without rows that say the same.

    Returns:
        int32 [codes of all features, blocks]: the row of masks, of each block of trees;
        int32 [rows, trees of a block]: the leaves, counted from the left, that are still possible.
    """
    masks = [_left_leaves(tree) for tree in forest.trees]
    width = forest.classes * -(-TREES // forest.classes)
    rows: list[Array] = []
    codes: list[Array] = []
    used = 0
    for first in range(0, len(masks), width):
        column = []
        for scale in known:
            full = np.full((scale.codes, width), -1, np.int32)
            for at, tree in enumerate(forest.trees[first : first + width]):
                for node, feature in enumerate(tree.feature):
                    if feature == scale.feature:
                        full[~scale.lefts(tree, node), at] &= ~masks[first + at][node]
            distinct, which = np.unique(full, axis=0, return_inverse=True)
            rows.append(distinct)
            column.append(used + which.reshape(-1))
            used += len(distinct)
        codes.append(np.concatenate(column))
    return np.stack(codes, axis=1).astype(np.int32), np.concatenate(rows)


def _left_leaves(tree: Tree) -> list[np.int32]:
    """For each node the leaves on its left, as bits; leaves count from the left."""
    order = {leaf: at for at, leaf in enumerate(_leaves(tree, 0))}
    bits = [sum(1 << order[leaf] for leaf in _leaves(tree, left)) for left in tree.left]
    return [np.uint32(each).astype(np.int32) for each in bits]


def _leaves(tree: Tree, node: int) -> list[int]:
    """The leaves below a node from left to right."""
    found, stack = [], [node if tree.feature else -1]
    while stack:
        node = stack.pop()
        if node < 0:
            found.append(~node)
        else:
            stack += [tree.right[node], tree.left[node]]
    return found
