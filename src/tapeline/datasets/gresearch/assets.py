"""The competition's 14 assets, and weights from an asset_details.csv."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass

from tapeline.errors import Finding, Refused, refuse

DETAILS = "asset_details.csv"
COLUMNS = ("Asset_ID", "Weight", "Asset_Name")
LARGEST = 9999
"""Of asset ids: LightGBM keeps a bit for each."""


@dataclass(frozen=True)
class Asset:
    """An asset and its weight in the metric."""

    name: str
    weight: float


COMPETITION = {
    0: Asset("Binance Coin", 4.30406509320417),
    1: Asset("Bitcoin", 6.779921907472252),
    2: Asset("Bitcoin Cash", 2.3978952727983707),
    3: Asset("Cardano", 4.406719247264253),
    4: Asset("Dogecoin", 3.555348061489413),
    5: Asset("EOS.IO", 1.3862943611198906),
    6: Asset("Ethereum", 5.8944028342648505),
    7: Asset("Ethereum Classic", 2.079441541679836),
    8: Asset("IOTA", 1.0986122886681098),
    9: Asset("Litecoin", 2.3978952727983707),
    10: Asset("Maker", 1.0986122886681098),
    11: Asset("Monero", 1.6094379124341005),
    12: Asset("Stellar", 2.079441541679836),
    13: Asset("TRON", 1.791759469228055),
}
"""By Asset_ID, with the weights of the competition's asset_details.csv."""


def part_id(asset: int) -> str:
    """The id of an asset's part: two digits, so that parts are in the order of the numbers."""
    return f"{asset:02d}"


def read(content: bytes, where: str) -> dict[int, Asset]:
    """The assets of an asset_details.csv, by Asset_ID.

    Raises:
        Refused: it is not such a file, or a number is wrong, by row.
    """
    try:
        lines = [line for line in csv.reader(io.StringIO(content.decode("utf-8-sig"))) if line]
    except (UnicodeDecodeError, csv.Error):
        raise refuse(where, "is not CSV in UTF-8", "save it as CSV, with the columns Asset_ID and Weight") from None
    header = [name.strip() for name in lines[0]] if lines else []
    if missing := [name for name in COLUMNS[:2] if name not in header]:
        raise refuse(where, f"has no column {' or '.join(missing)}", "name the columns Asset_ID, Weight, Asset_Name")
    rows = [dict(zip(header, line, strict=False)) for line in lines[1:]]
    if findings := list(_wrong(rows, where)):
        raise Refused(*findings)
    if not rows:
        raise refuse(where, "has a header and no rows", "add a row for each asset")
    return {
        int(row["Asset_ID"]): Asset(row.get("Asset_Name", "").strip() or row["Asset_ID"].strip(), float(row["Weight"]))
        for row in rows
    }


def _wrong(rows: list[dict[str, str]], where: str) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        asset, weight = row.get("Asset_ID", "").strip(), row.get("Weight", "")
        place = f"{where}, row {number}"
        if not (asset.isascii() and asset.isdigit() and int(asset) <= LARGEST):
            yield Finding(place, f"Asset_ID {asset!r} is not a whole number from 0 to {LARGEST}", "correct it")
        elif asset in seen:
            yield Finding(place, f"Asset_ID {asset} is also in row {seen[asset]}", "keep one row for each asset")
        seen.setdefault(asset, number)
        if not _is_positive(weight):
            yield Finding(place, f"Weight {weight!r} is not a number above zero", "correct it")


def _is_positive(text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) and value > 0
