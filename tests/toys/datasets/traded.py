"""The toy again, with a task of its own that reads the context column."""

from __future__ import annotations

from dataclasses import replace

from tests.toys.datasets import toy
from tests.toys.datasets.toy import Section, baselines, ingest, simulate, table

__all__ = ["SPEC", "Section", "baselines", "ingest", "simulate", "table"]

SPEC = replace(toy.SPEC, task="profit")
