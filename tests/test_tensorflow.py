from __future__ import annotations

import logging

import pytest

from tapeline import tensorflow as tf


def test_many_trainings_in_one_process_give_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Each training of a search or sweep compiles its own functions."""
    tensorflow = tf.load()
    logger = tensorflow.get_logger()
    caplog.set_level(logging.WARNING, logger.name)  # a server in this process sets another one
    logger.addHandler(caplog.handler)
    try:
        for _ in range(10):
            tensorflow.function(lambda value: value + 1.0)(1.0)
        logger.warning("another warning")
    finally:
        logger.removeHandler(caplog.handler)
    assert {each.getMessage() for each in caplog.records if each.name == "tensorflow"} == {"another warning"}
