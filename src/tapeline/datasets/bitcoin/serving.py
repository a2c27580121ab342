"""Signatures that take prices: the features are computed in the served graph, as they are for training.

next_day    candles: the candles of the last 8 days, one behind the other
same_day    open_high_low: three numbers; csv_row: one line of text; example: a serialized tf.Example

All answer with `prediction`, the log return from the last price, and `price`, the forecast in the currency.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tapeline import tensorflow as tf
from tapeline.datasets.bitcoin.features import CANDLE, HISTORY, LAGS, THURSDAY
from tapeline.tables.spec import InputSpec, Manifest, SignatureSpec

Tensors = Mapping[str, Any]
PRICES = ("open", "high", "low")
NUMBER = r"\s*[+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*"
"""The regular expression of a price in a CSV row."""
WIDE = 6
"""Values of the original system's rows: slug, date, open, high, low, close."""


def signatures(manifest: Manifest) -> tuple[SignatureSpec, ...]:
    """The signatures of a table's target."""
    return same_day() if manifest.extra["target"] == "same_day" else next_day()


def next_day() -> tuple[SignatureSpec, ...]:
    """`candles`: time int64 [rows, 8], days since 1970-01-01; open, high, low, close, volume float64 [rows, 8].

    A row without answer has days that do not follow each other, or a price that is not above zero and finite, or a
    high below the low. A volume of zero or NaN is unknown, as in the data.
    """
    example = list(range(HISTORY))
    inputs = [InputSpec("time", (HISTORY,), "int64", example)]
    inputs += [InputSpec(name, (HISTORY,), "float64") for name in CANDLE]
    about = {"rows": f"the last {HISTORY} days, the latest one last", "time": "days since 1970-01-01"}
    return (SignatureSpec("candles", tuple(inputs), _features, _complete, _from_close, about),)


def _features(inputs: Tensors) -> Any:
    tensorflow = tf.load()
    close, high, low, volume = (inputs[name] for name in ("close", "high", "low", "volume"))
    log, last = tensorflow.math.log, HISTORY - 1
    columns = [log(close[:, last] / close[:, last - lag]) for lag in LAGS]
    columns += [log(high[:, day] / low[:, day]) for day in (last, last - 1)]
    known = log(tensorflow.where(volume > 0, volume, np.nan))
    columns.append(known[:, last] - known[:, last - 1])
    weekday = tensorflow.one_hot((inputs["time"][:, last] + THURSDAY) % 7, 7, dtype=tensorflow.float64)
    return tensorflow.cast(tensorflow.concat([tensorflow.stack(columns, axis=1), weekday], 1), tensorflow.float32)


def _complete(inputs: Tensors) -> Any:
    tensorflow = tf.load()
    prices = tensorflow.stack([inputs[name] for name in CANDLE[:-1]], axis=1)
    found = tensorflow.math.is_finite(prices) & (prices > 0)
    ordered = inputs["high"] >= inputs["low"]
    follows = inputs["time"][:, 1:] - inputs["time"][:, :-1] == 1
    every = [tensorflow.reduce_all(each, axis=1) for each in (ordered, follows)]
    every.append(tensorflow.reduce_all(found, axis=[1, 2]))
    return tensorflow.reduce_all(tensorflow.stack(every, axis=1), axis=1)


def _from_close(inputs: Tensors, outputs: Tensors) -> dict[str, Any]:
    return {"price": inputs["close"][:, -1:] * tf.load().exp(outputs["prediction"])}


def same_day() -> tuple[SignatureSpec, ...]:
    """`open_high_low`: open, high, low float64 [rows]; `csv_row` and `example`: text [rows].

    A CSV row has open, high, low, or the six values of the original system's rows, whose last one is ignored. A
    tf.Example has the float features open, high, low. A row without answer lacks a price above zero.
    """
    numbers = tuple(InputSpec(name, (), "float64") for name in PRICES)
    row = InputSpec("csv_row", (), "str", "1,1,1")
    example = InputSpec("example_proto", (), "str", _example())
    return (
        _of_prices("open_high_low", numbers, lambda inputs: [inputs[name] for name in PRICES], {}),
        _of_prices("csv_row", (row,), _from_text, {"values": "open,high,low or slug,date,open,high,low,close"}),
        _of_prices("example", (example,), _from_example, {"features": list(PRICES)}),
    )


def _of_prices(
    name: str, inputs: tuple[InputSpec, ...], read: Callable[[Tensors], list[Any]], about: Mapping[str, Any]
) -> SignatureSpec:
    """A signature of which `read` gives open, high and low, float64 [rows] each."""

    def features(given: Tensors) -> Any:
        tensorflow = tf.load()
        opened, *others = read(given)
        columns = [tensorflow.math.log(each / opened) for each in others]
        return tensorflow.cast(tensorflow.stack(columns, axis=1), tensorflow.float32)

    def answered(given: Tensors) -> Any:
        tensorflow = tf.load()
        prices = tensorflow.stack(read(given), axis=1)
        positive = tensorflow.reduce_all(tensorflow.math.is_finite(prices) & (prices > 0), axis=1)
        return positive & (prices[:, 1] >= prices[:, 2])

    def outputs(given: Tensors, made: Tensors) -> dict[str, Any]:
        return {"price": read(given)[0][:, None] * tf.load().exp(made["prediction"])}

    return SignatureSpec(name, inputs, features, answered, outputs, about)


def _from_text(inputs: Tensors) -> list[Any]:
    tensorflow = tf.load()
    parts = tensorflow.strings.split(inputs["csv_row"], ",")
    count = parts.row_lengths()
    values = parts.to_tensor(default_value="", shape=[None, WIDE])
    three = tensorflow.where((count == WIDE)[:, None], values[:, 2:5], values[:, :3])
    fits = tensorflow.strings.regex_full_match(three, NUMBER) & ((count == WIDE) | (count == len(PRICES)))[:, None]
    numbers = tensorflow.strings.to_number(tensorflow.where(fits, three, "nan"), tensorflow.float64)
    return list(tensorflow.unstack(numbers, axis=1))


def _from_example(inputs: Tensors) -> list[Any]:
    tensorflow = tf.load()
    missing = tensorflow.io.FixedLenFeature([], tensorflow.float32, default_value=np.nan)
    found = tensorflow.io.parse_example(inputs["example_proto"], dict.fromkeys(PRICES, missing))
    return [tensorflow.cast(found[name], tensorflow.float64) for name in PRICES]


def _example() -> bytes:
    """A serialized tf.Example whose prices are all 1."""
    train = tf.load().train
    feature = train.Feature(float_list=train.FloatList(value=[1.0]))
    found = train.Example(features=train.Features(feature=dict.fromkeys(PRICES, feature)))
    serialized: bytes = found.SerializeToString(deterministic=True)
    return serialized
