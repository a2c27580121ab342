"""The 15 points and their order, as in Kaggle's training.csv."""

from __future__ import annotations

SIDE = 96
"""Pixels of each side of an image."""
POINTS = (
    "left_eye_center",
    "right_eye_center",
    "left_eye_inner_corner",
    "left_eye_outer_corner",
    "right_eye_inner_corner",
    "right_eye_outer_corner",
    "left_eyebrow_inner_end",
    "left_eyebrow_outer_end",
    "right_eyebrow_inner_end",
    "right_eyebrow_outer_end",
    "nose_tip",
    "mouth_left_corner",
    "mouth_right_corner",
    "mouth_center_top_lip",
    "mouth_center_bottom_lip",
)
"""Left and right are those of the person: the left eye is on the right side of the image."""
LABELS = tuple(f"{point}_{axis}" for point in POINTS for axis in "xy")
IMAGE = "Image"
"""The column of grey values: text, row by row of the image."""
