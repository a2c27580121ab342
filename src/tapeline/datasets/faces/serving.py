"""The signatures `images` and `png`, which answer as the table's pixels do."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from tapeline import tensorflow as tf
from tapeline.datasets.faces.shape import SIDE
from tapeline.tables.spec import InputSpec, Manifest, SignatureSpec

LARGEST = 2048
"""Pixels of a side of a PNG that is decoded."""
HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
"""The first bytes of every PNG; width and height follow."""
GREY_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAAAAABX3VL4AAAADklEQVR4nGNocGBwaAAABIYBgTpPuL0AAAAASUVORK5CYII="
)
"""Two by two pixels, for the warm-up."""


def signatures(manifest: Manifest) -> tuple[SignatureSpec, ...]:
    """`images`, uint8 [rows, 96, 96], and `png`, the bytes of a PNG of any size, grey or in colour.

    A PNG is decoded and resized in the graph. The whole request is an invalid argument where one is not a PNG, or has
    more than 2,048 pixels on a side, which is seen before anything is decoded.
    """
    about = {"grey values": "0 to 255, row by row from above", "points": "pixels of the image of 96 x 96"}
    images = InputSpec("images", (SIDE, SIDE), "uint8")
    png = InputSpec("png", (), "str", GREY_PNG)
    return (
        SignatureSpec("images", (images,), lambda inputs: tf.load().cast(inputs["images"], "float32"), about=about),
        SignatureSpec("png", (png,), _decoded, about={**about, "largest side": LARGEST}),
    )


def _decoded(inputs: Mapping[str, Any]) -> Any:
    """float32 [rows, 96, 96] of text [rows]."""
    tensorflow = tf.load()
    each = tensorflow.TensorSpec([SIDE, SIDE], "float32")
    return tensorflow.map_fn(_one, inputs["png"], fn_output_signature=each)


def _one(png: Any) -> Any:
    tensorflow = tf.load()
    whole = tensorflow.strings.length(png) >= len(HEAD) + 8
    head = tensorflow.strings.substr(tensorflow.where(whole, png, GREY_PNG), 0, len(HEAD) + 8)
    is_png = whole & (tensorflow.strings.substr(head, 0, len(HEAD)) == HEAD)
    size = tensorflow.strings.substr(head, len(HEAD), 8)
    sides = tensorflow.io.decode_raw(size, tensorflow.int32, little_endian=False)
    small = tensorflow.reduce_all((sides > 0) & (sides <= LARGEST))
    checks = [
        tensorflow.debugging.Assert(is_png, ["png: not a PNG; send the bytes of a PNG, as base64 over REST"]),
        tensorflow.debugging.Assert(
            small | ~is_png, [f"png: more than {LARGEST} pixels on a side; make it smaller, as in 96 x 96"]
        ),
    ]
    with tensorflow.control_dependencies(checks):
        image = tensorflow.io.decode_png(tensorflow.identity(png), channels=1)
    grey = tensorflow.cast(image, "float32")
    same = tensorflow.reduce_all(tensorflow.shape(grey)[:2] == SIDE)
    resized = tensorflow.cond(
        same, lambda: grey, lambda: tensorflow.image.resize(grey, [SIDE, SIDE], "bilinear", antialias=True)
    )
    return tensorflow.ensure_shape(resized[:, :, 0], [SIDE, SIDE])
