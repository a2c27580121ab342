"""One image, sent to a server; the points that it answers, in pixels of the image, drawn into a PNG.

tapeline predict image=face.jpg out=points.png experiment=faces_conv
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapeline import files
from tapeline.config.schema import Config
from tapeline.errors import refuse
from tapeline.lookup import spec
from tapeline.serving import client
from tapeline.serving.client import Endpoint
from tapeline.tasks.keypoints import names_of

if TYPE_CHECKING:
    from PIL.Image import Image

Array = np.ndarray[Any, Any]

LARGEST = 8192
"""Pixels of a side of an image that is opened; the header says so before anything is decoded."""
SIGNATURE = "images"


def drawn(config: Config, server: Endpoint, number: int | None, options: Mapping[str, str]) -> None:
    """Ask about `image=`, print the points, and write the image with them to `out=`.

    Raises:
        Refused: the file is not a PNG or JPEG image, or too large; the dataset has no images; or the server refuses.
    """
    if others := [key for key in ("date", "rows", "random", "lookup") if key in options]:
        raise refuse(" and ".join(["image", *others]), "ask about different rows", "give image= alone")
    height, width = shape_of(config, "image")
    path = Path(options["image"])
    out = Path(options.get("out", f"{path.stem}-points.png"))
    if out.suffix.lower() != ".png":
        raise refuse(f"out={out}", "the points are drawn into a PNG", "name a file that ends in .png")
    if out.exists() and path.exists() and out.samefile(path):
        raise refuse(f"out={out}", "is the image itself", "name another file")
    image = opened(path)
    grey = np.asarray(image.convert("L").resize((width, height), _bilinear()), np.uint8)
    answer = client.predict(server, {SIGNATURE: grey[None]}, number, SIGNATURE)
    scale = np.array([image.width / width, image.height / height])
    points = np.array(answer.outputs["prediction"][0], float).reshape(-1, 2) * scale
    names = names_of(spec(config.dataset.name).outputs)
    with files.atomic_path(out) as temporary:
        _with_points(image, points).save(temporary, "PNG")
    found = {name: [round(float(each), 3) for each in point] for name, point in zip(names, points, strict=True)}
    if options.get("json") == "true":
        print(json.dumps({"image": str(path), "points": found, "out": str(out), "version": answer.version}))
        return
    print(f"{server.model} version {answer.version} on {server}, {server.api}, {answer.milliseconds:.1f} ms")
    print(f"{'point':<26}{'x':>9}{'y':>9}  pixels of {image.width} x {image.height}")
    print(*(f"{name:<26}{x:9.2f}{y:9.2f}" for name, (x, y) in found.items()), sep="\n")
    print(f"drawn: {out}")


def shape_of(config: Config, option: str) -> tuple[int, int]:
    """Height and width of the images that the dataset's models take.

    Raises:
        Refused: the dataset has no images.
    """
    shape = spec(config.dataset.name).feature_shape
    if shape is None or len(shape) != 2:
        problem = f"dataset={config.dataset.name} has no images"
        raise refuse(option, problem, f"ask with dataset=faces, or leave {option}= out")
    return shape[0], shape[1]


def opened(path: Path) -> Image:
    """An image in the position in which it is to be seen.

    Raises:
        Refused: it is not a PNG or JPEG image, is damaged or too large, or cannot be read.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    where = f"image={path}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # it is refused below
            image = Image.open(path, formats=("PNG", "JPEG"))
        if max(image.size) > LARGEST:
            problem = f"has more than {LARGEST} pixels on a side"
            raise refuse(where, problem, "make it smaller; the face should fill it")
        image.load()
        return ImageOps.exif_transpose(image)
    except UnidentifiedImageError:
        raise refuse(where, "is not a PNG or JPEG image", "convert it to PNG") from None
    except Image.DecompressionBombError:
        problem = f"has more than {LARGEST} pixels on a side"
        raise refuse(where, problem, "make it smaller; the face should fill it") from None
    except (SyntaxError, ValueError) as error:
        raise refuse(where, f"cannot be decoded ({error})", "save it again as PNG") from None
    except OSError as error:
        what = error.strerror or f"cannot be decoded: {error}"
        raise refuse(where, what[0].lower() + what[1:], "give a complete PNG or JPEG that you may read") from None


def _bilinear() -> Any:
    """Pillow's filter that weighs all pixels where an image gets smaller."""
    from PIL.Image import Resampling

    return Resampling.BILINEAR


def _with_points(image: Image, points: Sequence[Any] | Array) -> Image:
    """The image in colour, with a disc at each point."""
    from PIL import Image, ImageDraw

    factor = max(1, round(480 / max(image.size)))
    size = (image.width * factor, image.height * factor)
    large = image.convert("RGB").resize(size, Image.Resampling.NEAREST)
    draw, radius = ImageDraw.Draw(large), max(2, min(size) // 120)
    for x, y in np.asarray(points) * factor:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(220, 40, 40), outline=(255, 255, 255))
    return large
