"""The schema of conf/: base classes of its groups, and the sections that no other module declares.

A dataset's, a family's and a split's module has a `Section` that adds its own keys to the base class here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from tapeline.config.search import Tune
from tapeline.config.section import Section


class Dataset(Section):
    """The keys of every dataset; the `Section` of its module adds others."""

    COMPETITION: ClassVar[str | None] = None
    """Of Kaggle, for the source kaggle; None where the data is not there."""
    FILE: ClassVar[str | None] = None
    """The name of the data where a path is a folder or an archive with several files."""
    PACKED: ClassVar[str | None] = None
    """The archive in which the competition has that file; None: it has the file itself."""
    BESIDE: ClassVar[tuple[str, ...]] = ()
    """Names of small files that the dataset reads where they lie beside its data."""

    name: str
    source: str
    path: str | None
    """A file or URL, for the sources that read one."""
    seed: Annotated[int, Field(ge=0)]
    """Of simulated data."""
    max_gap_days: Annotated[int, Field(ge=0)] | None = None
    """Data is refused where a series has no value for longer, in its own days or steps; null: only a warning."""
    max_move: Annotated[float, Field(gt=0)] | None = None
    """Data is refused where a value differs from the one before by more, as 0.5 for half; null: only a warning."""
    max_bytes: Annotated[int, Field(ge=1)] = 4_000_000_000
    """Of one file, decompressed; a larger one is refused."""
    max_columns: Annotated[int, Field(ge=1)] = 2000
    """Of one table of text; one with more is refused."""
    max_seconds: Annotated[float, Field(gt=0)] = 600
    """In which a URL must be downloaded."""

    @property
    def simulation(self) -> dict[str, Any]:
        """Arguments of the dataset's `simulate` beside the seed."""
        return {}

    @property
    def sample_weights(self) -> str | None:
        """The key that gives the train rows weights, where it is set to do so."""
        return None


class Model(Section):
    """The keys of every model family; the `Section` of its module adds others."""

    trains_with_tensorflow: ClassVar[bool] = True
    not_tuned: ClassVar[tuple[str, ...]] = ("family", "report_every")
    """Keys that a search may not change: they choose the other keys, or change no weight."""

    family: str
    steps: Annotated[int, Field(ge=1)]
    """Training steps; boosting rounds for LightGBM."""
    report_every: Annotated[int, Field(ge=1)]
    """Steps between two points of the training trace."""

    @property
    def validation_share(self) -> float:
        """Share of the train times, the last ones, that the family keeps for validation."""
        return 0.0

    def fixed(self, steps: int) -> Model:
        """The same keys for a training of exactly so many steps, without validation rows."""
        return self.model_copy(update={"steps": steps})


class Accelerator(Section):
    """A GPU, with its names for scheduler and driver."""

    model: str
    count: Annotated[int, Field(ge=1)]
    """A K80 board counts as two."""
    compute_capability: Annotated[str, Field(pattern=r"^\d+\.\d$")]
    driver: str
    """Releases of NVIDIA's driver that know both the card and the CUDA of the image."""
    resource: str
    node_selector: dict[str, str]
    end_of_life: str | None
    """The day on which the cloud withdrew it."""


class Hardware(Section):
    """A hardware profile: where training runs and in which image."""

    name: str
    threads: Annotated[int, Field(ge=1, le=256)]
    """TensorFlow's threads, fixed because XLA's sums depend on their number."""
    workers: Annotated[int, Field(ge=1, le=16)]
    """That train one model together: pods of the step on Argo, processes elsewhere. Results depend on their number."""
    required: bool
    """Refuse to train on the CPU if TensorFlow does not find the GPU."""
    accelerator: Accelerator | None
    image: str
    tensorflow: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    """In the image."""
    requests: dict[str, str]
    limits: dict[str, str]


class Split(Section):
    """Which rows train and which test; each module of `tables/splits` has the keys of one name."""

    name: str


class Gate(Section):
    """The rules that a model must meet to be published."""

    metric: str
    """In conf/ null stands for the first one of the dataset's task."""
    threshold: float | None
    """Strict: the metric must be better than this; null is off."""
    baseline_margin: float | None
    """Smallest lead over the best baseline, in units of the metric; null is off."""
    confidence: Annotated[float, Field(gt=0, lt=1)] | None
    """The paired interval of that lead has this level, and its lower end must be above the margin; null is off."""
    champion_margin: float | None
    """Smallest lead over the live version, on test rows that did not train it; null is off."""


CANARY = "-canary"
"""A canary is served as <name>-canary."""
RESERVED = ("latest", "models.config", "log.jsonl")
"""Names in runs and in a store that are not names of models."""


def reserved(name: str) -> str:
    """Why tapeline needs this name itself; "" where a model may have it. Some file systems ignore case."""
    lower = name.lower()
    if lower.endswith(CANARY):
        return f"is reserved: tapeline serves the canary of {name[: -len(CANARY)]} under this name"
    return "is reserved: tapeline uses this name itself" if lower in RESERVED else ""


class Track(Section):
    """Where a finished run of this machine is also written; `track=none` is nowhere."""

    name: Literal["mlflow"]
    uri: Annotated[str, Field(min_length=1)]
    experiment: str | None
    """The name in MLflow; null: `serving.name`."""


class Serving(Section):
    """Where an accepted model goes."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if problem := reserved(name):
            raise ValueError(problem)
        return name

    store: str
    lock_seconds: Annotated[float, Field(ge=0)]
    keep: Annotated[int, Field(ge=1)]
    """Versions that stay in the store, beside those that are served."""
    engine: Literal["tapeline", "tfserving"]
    """What `tapeline serve` runs: itself, or TF Serving's own image."""
    host: Annotated[str, Field(min_length=1)]
    """Where `tapeline serve` listens."""
    grpc_port: Annotated[int, Field(ge=0, le=65535)]
    """0: any free one."""
    rest_port: Annotated[int, Field(ge=0, le=65535)]
    poll_seconds: Annotated[float, Field(gt=0, le=3600)]
    """Seconds between two checks of models.config."""
    reload: Literal["loopback", "always"]
    """Where gRPC's HandleReloadConfigRequest is allowed: if the server listens on loopback only, or always."""


class Target(Section):
    """Where the graph runs."""

    name: str
    runs: str
    cache: str
    """A folder, or the URL of a cache that laptop and cluster share."""
    cache_trust: Literal["all", "data"] = "all"
    """data: take only ingest and features from a shared cache."""


Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
"""A DNS label, as names in Kubernetes."""


class Toleration(Section):
    """Of a taint that nodes have, as Kubernetes writes it."""

    key: str | None = None
    operator: Literal["Equal", "Exists"]
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Cluster(Target):
    """The keys of all cluster targets."""

    folder: str
    """Where `build` writes."""
    namespace: Name
    image: str
    requests: dict[str, str]
    limits: dict[str, str]
    pull_policy: Literal["Always", "IfNotPresent", "Never"]
    pull_secret: Name | None
    node_selector: dict[str, str]
    """Labels of the nodes of all pods; those of `hw.accelerator` are added."""
    tolerations: Annotated[tuple[Toleration, ...], Field(strict=False)]
    """Of all pods."""
    priority_class: str | None
    """Of all pods; KFP has no such field."""
    models_claim: Name
    data_claim: Name
    store_secret: Name | None
    store_read_secret: Name | None
    """Of the steps that only read the store; null: `store_secret`."""
    data_secret: Name | None
    cache_secret: Name | None
    """Of the steps that use a shared cache in object storage, for its keys alone."""
    cache_claim: Name
    retries: Annotated[int, Field(ge=0)]
    backoff_seconds: Annotated[int, Field(ge=1)]
    deadline_seconds: Annotated[int, Field(ge=1)]
    ttl_seconds: Annotated[int, Field(ge=0)]
    parameters: Annotated[tuple[str, ...], Field(strict=False)]
    """Keys that a run may set when it is submitted."""


class Argo(Cluster):
    """Keys of `target=argo`."""

    granularity: Literal["step", "fused"]
    schedule: str
    """Of the CronWorkflow: minute, hour, day of the month, month, weekday."""
    timezone: str
    runner: Name
    """Service account of all steps except publish."""
    publisher: Name
    """Of publish, the only step that writes to the store."""
    executor: Name
    """Service account of Argo's own containers in each pod, the only one with rights and a token."""
    semaphore: Name
    """ConfigMap with the number of runs for each hardware profile that has an accelerator, by its name."""
    gpu_wait_seconds: Annotated[int, Field(ge=0)]
    """Added to the deadline of a run with an accelerator; the pod that has it ends after `deadline_seconds`."""
    partitions: Literal["pods"] | None
    """pods: each partition of the data has a pod that computes its features, and one pod puts them together; null: one
    pod computes all."""
    artifacts: str | None
    """Address of the artifact repository as it is reached from here, for `submit`; null: only a public one is."""
    parallelism: Annotated[int, Field(ge=1)]
    """The largest number of pods of a sweep, or of partitions, at the same time."""


class Kfp(Cluster):
    """Keys of `target=kfp`."""

    granularity: Literal["step", "fused"]
    account: Name | None
    """Of all pods of a run; null: KFP's own."""
    address: str
    """Of the API, for `submit`."""
    artifacts: str | None
    """The URL of KFP's artifacts, from which `submit` copies files; null: it prints the decision only."""

    @field_validator("priority_class")
    @classmethod
    def _has_no_priority(cls, value: str | None) -> str | None:
        if value is not None:
            raise ValueError("pods of KFP have no priority")
        return value


class TFJob(Cluster):
    """Keys of `target=tfjob`."""

    publisher: Name
    """Service account of the worker, which runs all steps."""


TARGETS: dict[str, type[Target]] = {"local": Target, "argo": Argo, "kfp": Kfp, "tfjob": TFJob}
"""The keys of each target, by `target.name`."""


@dataclass(frozen=True)
class Config:
    """The whole configuration, validated."""

    experiment: str | None
    seed: int
    dataset: Dataset
    model: Model
    hw: Hardware
    split: Split
    gate: Gate
    serving: Serving
    target: Target
    tune: Tune | None = None
    track: Track | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """Keys, dotted, whose value comes from the environment, and the text that says so: what is written is the text."""
    linked: bool = False
    """A key refers to another key, so that an override of one may change a second."""


NO_KEYS = ("environment", "linked")
"""Fields of Config that are about its keys."""
