"""The next 15 minutes of 14 cryptocurrencies against their market, from minute bars: a competition of G-Research.

The target is the competition's: the log return from the next minute to the sixteenth, less beta times the market's.
Features are indicators of each asset's own bars. The table has one part for each asset.

    tapeline run experiment=gresearch_sample
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator

from tapeline.config import schema
from tapeline.datasets.gresearch import bars as minute_bars
from tapeline.datasets.gresearch import serving
from tapeline.datasets.gresearch.assets import COMPETITION, DETAILS, Asset, read
from tapeline.datasets.gresearch.columns import ASSET, NAMES, features, last_return
from tapeline.datasets.gresearch.simulation import simulate
from tapeline.datasets.sources import fetch
from tapeline.errors import refuse
from tapeline.tables.observed import Observed
from tapeline.tables.profile import Series
from tapeline.tables.spec import Column, Manifest, SignatureSpec, Spec, header_of
from tapeline.tables.table import Batch
from tapeline.tables.writing import Parts

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "RAW_COLUMNS",
    "SPEC",
    "Section",
    "baselines",
    "ingest",
    "keys",
    "observed",
    "series",
    "signatures",
    "simulate",
    "table",
    "unlabelled",
]

Array = np.ndarray[Any, Any]

SPEC = Spec(
    task="returns",
    outputs=("Target",),
    missing_labels=True,
    missing_features=True,
    partition="asset",
    horizon=timedelta(minutes=16),
    categorical=(ASSET,),
    by=("asset", "month"),
)
LONG_HOLE = 120
"""Minutes without a bar that are reported as a defect of the data."""
AT_ONCE = 2
"""Assets whose features are computed at the same time."""


def _check_moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a day or time in UTC, as in 2020-01-01 or 2020-01-01T12:00") from None
    return text


Moment = Annotated[str, AfterValidator(_check_moment)]


class Section(schema.Dataset):
    """The keys of `dataset=gresearch`."""

    model_config = ConfigDict(serialize_by_alias=True)

    COMPETITION: ClassVar[str | None] = "g-research-crypto-forecasting"
    FILE: ClassVar[str | None] = "train.csv"
    BESIDE: ClassVar[tuple[str, ...]] = (DETAILS,)

    rows: Annotated[int, Field(ge=20_000, le=100_000_000)]
    """Of simulated data."""
    from_: Annotated[Moment | None, Field(alias="from")]
    """Earlier bars are left out; null keeps all."""
    until: Moment | None
    """Later bars are left out, those of the day itself are kept; null keeps all."""
    assets: list[Annotated[int, Field(ge=0)]] | None
    """Numbers of the assets that are kept, by Asset_ID; null keeps all."""
    weights: Literal["none", "asset"]
    """Of the train rows; the metric always has the assets' weights."""
    original: bool
    """The published notebook's features and choices, for comparison."""

    @property
    def sample_weights(self) -> str | None:
        """The key that gives the train rows weights."""
        return "weights" if self.weights == "asset" else None

    @field_validator("assets")
    @classmethod
    def _some_and_once(cls, assets: list[int] | None) -> list[int] | None:
        if assets is not None and (not assets or len(set(assets)) < len(assets)):
            raise ValueError("must name each asset once, as in [0, 1, 6]; null keeps all")
        return assets

    @field_validator("until")
    @classmethod
    def _after_from(cls, until: str | None, info: ValidationInfo) -> str | None:
        first = info.data.get("from_")
        if first and until and _moment(until) < _moment(first):
            raise ValueError(f"must be later than dataset.from={first}")
        return until

    @property
    def simulation(self) -> dict[str, Any]:
        """How much is simulated."""
        return {"rows": self.rows}


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def ingest(section: Section, frame: pl.LazyFrame, where: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """The bars of each asset with types, ascending, one for each minute; `weight` is the asset's.

    Weights come from asset_details.csv beside the file or in its archive, else they are the competition's.

    Raises:
        Refused: everything that is wrong with the file, by column and row.
    """
    import polars as pl

    assets = _assets(section)
    bars = minute_bars.read(_kept(section, frame), where, assets)
    bars = _between(section, bars, where)
    for name, part in minute_bars.parts(bars):
        yield name, part.with_columns(pl.lit(assets[int(name)].weight).alias("weight"))


def unlabelled(section: Section, frame: pl.LazyFrame, where: str) -> tuple[Manifest, Parts]:
    """The table of bars without targets, for predictions.

    Raises:
        Refused: everything that is wrong with the file, by column and row.
    """
    import polars as pl

    assets = _assets(section)
    bars = minute_bars.read(frame, where, assets, labelled=False)
    parts = {
        name: part.with_columns(pl.lit(assets[int(name)].weight).alias("weight")).lazy()
        for name, part in minute_bars.parts(bars)
    }
    return table(section, parts)


def _assets(section: Section) -> dict[int, Asset]:
    """The weights, by Asset_ID."""
    if section.path and section.source in ("csv", "parquet"):
        content = fetch.beside(section.path, DETAILS)
        if content is not None:
            return read(content, f"{section.path}, {DETAILS}")
    return COMPETITION


def _kept(section: Section, frame: pl.LazyFrame) -> pl.LazyFrame:
    """The chosen assets, where the file has types already; of text, see `_between`."""
    import polars as pl

    if section.assets is None or not dict(frame.collect_schema()).get(ASSET, pl.String()).is_integer():
        return frame
    return frame.filter(pl.col(ASSET).is_in(section.assets))


def _between(section: Section, bars: pl.DataFrame, where: str) -> pl.DataFrame:
    """The bars that dataset.from, until and assets keep.

    Raises:
        Refused: none is left, or a chosen asset has none.
    """
    import polars as pl

    if section.assets is not None:
        bars = bars.filter(pl.col(ASSET).is_in(section.assets))
        if lacks := sorted(set(section.assets) - set(bars[ASSET].unique().to_list())):
            listed = ", ".join(map(str, lacks))
            raise refuse(f"dataset.assets={section.assets}", f"{where} has no bar of asset {listed}", "leave it out")
    first, last = bars["timestamp"].min(), bars["timestamp"].max()
    if section.from_:
        bars = bars.filter(pl.col("timestamp") >= _seconds(section.from_))
    if section.until:
        end = _seconds(section.until) + (86_399 if len(section.until) <= 10 else 0)
        bars = bars.filter(pl.col("timestamp") <= end)
    if bars.is_empty():
        reach = " to ".join(str(np.datetime64(each, "s")) for each in (first, last))  # type: ignore[call-overload]
        key = f"dataset.from={section.from_} dataset.until={section.until}"
        raise refuse(key, f"no bar is left: {where} has bars from {reach}", "set other times")
    return bars


def _seconds(text: str) -> int:
    return int(_moment(text).replace(tzinfo=UTC).timestamp())


def table(section: Section, raw: Mapping[str, pl.LazyFrame]) -> tuple[Manifest, Parts]:
    """Features and target of each bar, one part for each asset.

    Context is `last_return`, the log return over the last 15 minutes, 0 where it is not known. The role weight has the
    weights of the metric; `sample_weights` among the notes says whether training takes them, too.
    """
    schema = [
        Column("time", "time", "datetime64[us]"),
        Column("target", "target", "float64"),
        Column("weight", "weight", "float64"),
        Column("last_return", "context", "float64"),
        Column(ASSET, "feature", "int16"),
        *(Column(name, "feature", "float32") for name in NAMES),
    ]
    notes = {"partitions": _names(raw), "sample_weights": bool(section.sample_weights), "original": section.original}
    return header_of(SPEC, section.name, schema, notes), _parts(section, raw)


def _parts(section: Section, raw: Mapping[str, pl.LazyFrame]) -> Iterator[tuple[str, pl.DataFrame]]:
    """Parts in their order, some of them made ahead of the one that is asked for."""
    waiting: dict[str, Future[pl.DataFrame]] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for name, frame in raw.items():
            waiting[name] = pool.submit(_part, section, int(name), frame)
            if len(waiting) > AT_ONCE:
                first = next(iter(waiting))
                yield first, waiting.pop(first).result()
        for name in list(waiting):
            yield name, waiting.pop(name).result()


def _part(section: Section, asset: int, frame: pl.LazyFrame) -> pl.DataFrame:
    import polars as pl

    bars = frame.collect()
    arrays = {name: bars[name].to_numpy() for name in ("open", "high", "low", "close")}
    arrays["seconds"] = bars["time"].dt.epoch("s").to_numpy()
    target = bars["target"].fill_null(0.0) if section.original else bars["target"]
    columns = {name: values.astype(np.float32) for name, values in features(arrays, original=section.original).items()}
    return pl.DataFrame(
        {
            "time": bars["time"],
            "target": target,
            "weight": bars["weight"],
            "last_return": last_return(arrays),
            ASSET: np.full(len(bars), asset, np.int16),
            **columns,
        }
    )


def _names(raw: Mapping[str, pl.LazyFrame]) -> dict[str, str]:
    """The name of each part's asset: the competition's where the weight is its, too."""
    names = {}
    for part, frame in raw.items():
        known, found = COMPETITION.get(int(part)), frame.select("weight").head(1).collect()
        same = known is not None and len(found) and np.isclose(found.item(), known.weight, rtol=1e-6)
        names[part] = known.name if known and same else f"asset {int(part)}"
    return names


def series(section: Section, raw: Mapping[str, pl.LazyFrame]) -> Series:
    """The last close of each hour, by asset."""
    import polars as pl

    names = _names(raw)
    joined: pl.DataFrame | None = None
    for part, frame in raw.items():
        hourly = frame.select(pl.col("time").dt.truncate("1h"), pl.col("close").alias(names[part]))
        own = hourly.group_by("time", maintain_order=True).last().collect()
        joined = own if joined is None else joined.join(own, on="time", how="full", coalesce=True)
    assert joined is not None
    joined = joined.sort("time")
    closes = {name: joined[name].fill_null(np.nan).to_numpy() for name in names.values()}
    heaviest = max(raw, key=lambda part: raw[part].select("weight").head(1).collect().item())
    return Series(joined["time"].to_numpy(), closes, target=names[heaviest], unit="USD", each="asset", every="hour")


def observed(section: Section, raw: Mapping[str, pl.LazyFrame]) -> Iterator[Observed]:
    """The closes of each asset by minute; single minutes are often missing, so that only long holes are defects."""
    for part, name in _names(raw).items():
        bars = raw[part].select("time", "close").drop_nulls().collect()
        yield Observed(name, bars["time"].to_numpy(), bars["close"].to_numpy(), every="minute", hole=LONG_HOLE)


RAW_COLUMNS = minute_bars.NEEDED
"""Of a file of bars for predictions."""


def keys(batch: Batch, names: Sequence[str]) -> dict[str, Array]:
    """Which bar a row of the table is of: `timestamp` in seconds, and `Asset_ID`."""
    seconds = batch["time"].astype("datetime64[s]").astype(np.int64)
    return {"timestamp": seconds, ASSET: batch["feature"][:, list(names).index(ASSET)].astype(np.int64)}


def signatures(manifest: Manifest) -> tuple[SignatureSpec, ...]:
    """The signature `bars`, where the features respect gaps; those of `original` have none."""
    if manifest.extra["original"]:
        return ()
    return (serving.bars(manifest.names("feature"), [int(part) for part in manifest.extra["partitions"]]),)


def baselines(batch: Batch, names: Sequence[str]) -> dict[str, Array]:
    """The last 15 minutes' log return as the forecast, and its opposite; 0 where it is not known."""
    last = batch["last_return"][:, None]
    return {"last return": last, "minus last return": -last}
