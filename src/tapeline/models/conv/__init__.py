"""A convolutional network for images, of core TensorFlow operations: 2.14 and current releases run the same code."""

from tapeline.models.conv.family import WORKERS, Section, fit, load, predict, save, servable, supports

__all__ = ["WORKERS", "Section", "fit", "load", "predict", "save", "servable", "supports"]
