"""Artifacts in the artifact repository: their keys, and whether they are archives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapeline.pipeline.graph import FETCHED, Artifact

if TYPE_CHECKING:
    from hera.workflows import models as m

RESULTS, ARTIFACTS = "results", "artifacts"
"""The first part of the keys in the artifact repository."""


def key(made: Artifact, *, archived: bool = False) -> str:
    """The key of an artifact in the repository; no parameter is part of it.

    What submit copies is below results/; the rest is below artifacts/, where a rule of the store may delete it.
    """
    folder = RESULTS if made in FETCHED else ARTIFACTS
    return f"{folder}/{{{{workflow.namespace}}}}/{{{{workflow.name}}}}/{made.file}" + (".tgz" if archived else "")


def made(artifact: Artifact, path: str, *, archived: bool) -> m.Artifact:
    """An output artifact: an archive, or as it is; each file of a folder then has a key below that of the folder."""
    from hera.workflows import models as m

    return m.Artifact(
        name=artifact.name,
        path=path,
        archive=None if archived else m.ArchiveStrategy(none=m.NoneStrategy()),
        s3=m.S3Artifact(key=key(artifact, archived=archived)),
        optional=artifact.optional or None,
    )


def parts(artifact: Artifact, path: str) -> m.Artifact:
    """As an input: a folder that several pods wrote into, by its key, since Argo aggregates no artifacts."""
    from hera.workflows import models as m

    return m.Artifact(name=artifact.name, path=path, s3=m.S3Artifact(key=key(artifact)))
