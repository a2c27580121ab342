"""Drawn faces: the schema, the statistics of the labels and the missing pattern of Kaggle's table, but no row of it.

The 15 points are the mean shape of the 2,140 complete rows, moved as a head moves: shifted, zoomed, turned, nose and
mouth pulled aside by a turn to the left or right and down by a nod, the mouth opened; each point has some noise of its
own. The constants are chosen so that the standard deviations of the 30 columns come near those of the complete rows.
A face is drawn over its points in grey: head, hair, eyes, brows, nose and mouth, in light from a side, with noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tapeline.datasets.faces.shape import IMAGE, LABELS, POINTS, SIDE

if TYPE_CHECKING:
    import polars as pl

Array = np.ndarray[Any, Any]

MEAN: Final = (
    (66.2, 36.8), (29.6, 37.1), (59.3, 37.9), (73.4, 37.6), (36.6, 37.9), (22.4, 38.0), (56.2, 29.2), (79.6, 29.7),
    (39.3, 29.4), (15.8, 30.5), (48.0, 57.3), (63.4, 75.9), (33.0, 76.1), (48.1, 72.7), (48.2, 82.6),
)  # fmt: skip
"""Of each point: x and y, pixels."""
DEPTH: Final = (0, 0, 1, -2, 1, -2, 2, -2, 2, -2, 8, 2, 2, 4, 4)
"""How far a point lies in front of the eyes, in pixels of a face seen from the side; a turn of the head moves it so."""
SHIFT, ZOOM, TURN, SIDEWAYS, NOD, OPEN, OWN = 1.4, 0.06, 4.0, 0.3, 0.45, 2.2, 0.9
"""Standard deviations: pixels, share, degrees, radians, radians, pixels, pixels."""
PATTERNS: Final = {
    "110000000010001": 4755,
    "111111111111111": 2140,
    "111111101111111": 31,
    "111111111011111": 26,
    "111111111111110": 13,
    "110000000010000": 10,
    "111111101011111": 6,
    "111011111111111": 4,
}
"""Which points have labels, and in how many of the 7,049 rows; rarer patterns are left out."""
ROWS = 400
EDGE = 0.5
"""Pixels over which an edge fades."""


def simulate(seed: int, rows: int = ROWS) -> pl.DataFrame:
    """The columns of training.csv; images are bytes, since text would be parsed again at once."""
    import polars as pl

    random = np.random.default_rng(seed)
    points = np.stack([_shape(random) for _ in range(rows)])
    images = [_drawn(each, random) for each in points]
    # the last digits depend on the processor
    labels = points.reshape(rows, -1).round(9)
    labels[~np.repeat(_known(random, rows), 2, axis=1)] = np.nan
    columns = {name: labels[:, at] for at, name in enumerate(LABELS)}
    frame = pl.DataFrame(columns, nan_to_null=True)
    return frame.with_columns(pl.Series(IMAGE, [image.tobytes() for image in images], pl.Binary))


def _shape(random: np.random.Generator) -> Array:
    """Pixels [15, 2] of one face, all inside the image."""
    points = np.array(MEAN) - SIDE / 2
    depth = np.array(DEPTH, float)
    sideways, nod = random.normal(0, SIDEWAYS), random.normal(0, NOD)
    points[:, 0] += depth * np.sin(sideways)
    points[:, 1] += depth * np.sin(nod)
    points[POINTS.index("mouth_center_bottom_lip"), 1] += abs(random.normal(0, OPEN))
    angle = np.radians(random.normal(0, TURN))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = points @ turn.T * np.exp(random.normal(0, ZOOM)) + random.normal(0, SHIFT, 2)
    return np.asarray(np.clip(points + random.normal(0, OWN, points.shape) + SIDE / 2, 1, SIDE - 1))


def _known(random: np.random.Generator, rows: int) -> Array:
    """Which points have labels, bool [rows, 15]; the first row has all."""
    counts = np.array([*PATTERNS.values()], float)
    chosen = random.choice(len(counts), rows, p=counts / counts.sum())
    chosen[0] = list(PATTERNS).index("1" * len(POINTS))
    return np.array([[mark == "1" for mark in pattern] for pattern in PATTERNS])[chosen]


def _drawn(points: Array, random: np.random.Generator) -> Array:
    """uint8 [96, 96]: a face over its points."""
    at = dict(zip(POINTS, points, strict=True))
    skin, hair = random.uniform(140, 215), random.uniform(20, 90)
    image = np.full((SIDE, SIDE), random.uniform(40, 220))
    middle = (at["left_eye_center"] + at["right_eye_center"] + at["mouth_center_top_lip"]) / 3
    width, height = random.uniform(42, 48), random.uniform(54, 62)
    _ellipse(image, middle - np.array([0, random.uniform(6, 12)]), (width + 4, height + 4), hair)
    _ellipse(image, middle + np.array([0, 4]), (width, height), skin)
    for side in ("left", "right"):
        _eye(image, at, side, random)
        ends = at[f"{side}_eyebrow_inner_end"], at[f"{side}_eyebrow_outer_end"]
        _line(image, *ends, random.uniform(1.2, 2.2), hair + 15)
    bridge = (at["left_eye_inner_corner"] + at["right_eye_inner_corner"]) / 2
    _line(image, bridge, at["nose_tip"], 1.5, skin + 20)
    _ellipse(image, at["nose_tip"] + np.array([0, 2]), (6, 2), skin - 60)
    _mouth(image, at, skin)
    across, down = random.normal(0, 0.25, 2)
    along = np.arange(SIDE) + 0.5 - SIDE / 2
    image += across * along[None, :] + down * along[:, None] + random.normal(0, 5, image.shape)
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def _eye(image: Array, at: dict[str, Array], side: str, random: np.random.Generator) -> None:
    """The white between the corners, and a dark iris at the centre."""
    inner, outer = at[f"{side}_eye_inner_corner"], at[f"{side}_eye_outer_corner"]
    half = float(np.hypot(*(outer - inner))) / 2
    _ellipse(image, (inner + outer) / 2, (half, max(1.5, half / 2.4)), 225)
    _ellipse(image, at[f"{side}_eye_center"], (2.8, 2.8), random.uniform(20, 60))


def _mouth(image: Array, at: dict[str, Array], skin: float) -> None:
    """Lips from corner to corner, between the middles of the upper and the lower one."""
    top, bottom = at["mouth_center_top_lip"], at["mouth_center_bottom_lip"]
    half = abs(float(at["mouth_left_corner"][0] - at["mouth_right_corner"][0])) / 2
    _ellipse(image, (top + bottom) / 2, (half, max(2.0, float(bottom[1] - top[1]) / 2)), skin - 75)
    _line(image, at["mouth_right_corner"], at["mouth_left_corner"], 0.9, skin - 110)


def _ellipse(image: Array, middle: Array, radii: tuple[float, float], grey: float) -> None:
    box, x, y = _box(middle - radii, middle + radii)
    away = np.hypot((x - middle[0]) / radii[0], (y - middle[1]) / radii[1])
    _blend(image[box], (1 - away) * min(radii), grey)


def _line(image: Array, start: Array, end: Array, half: float, grey: float) -> None:
    box, x, y = _box(np.minimum(start, end) - half, np.maximum(start, end) + half)
    along = end - start
    share = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / max(float(along @ along), 1e-9)
    nearest = np.clip(share, 0, 1)
    away = np.hypot(x - start[0] - nearest * along[0], y - start[1] - nearest * along[1])
    _blend(image[box], half - away, grey)


def _box(low: Array, high: Array) -> tuple[tuple[slice, slice], Array, Array]:
    """The pixels that a shape may touch, and the places of their middles."""
    first = np.clip(np.floor(low - 1), 0, SIDE).astype(int)
    last = np.clip(np.ceil(high + 1), 0, SIDE).astype(int)
    columns, rows = (slice(first[axis], last[axis]) for axis in (0, 1))
    return (rows, columns), np.arange(SIDE)[None, columns] + 0.5, np.arange(SIDE)[rows, None] + 0.5


def _blend(image: Array, depth: Array, grey: float) -> None:
    """Paint where `depth`, pixels inside the edge, is above 0, with a soft edge."""
    cover = np.clip(depth / (2 * EDGE) + 0.5, 0, 1)
    image += cover * (grey - image)
