"""Boosted trees: the family, LightGBM's text format, and its trees as TensorFlow operations."""

from tapeline.models.lightgbm.family import WEIGHTS, WORKERS, Section, fit, load, predict, save, servable, supports

__all__ = ["WEIGHTS", "WORKERS", "Section", "fit", "load", "predict", "save", "servable", "supports"]
