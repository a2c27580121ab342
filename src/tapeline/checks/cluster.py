"""Rules across keys of a configuration for a cluster: what its pods can reach and request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tapeline.checks.resources import ACCELERATORS, GKE, KINDS
from tapeline.checks.syntax import invalid_schedule, is_label_key, is_label_value, is_zone, mutable_image, quantity
from tapeline.clusters.mounts import DATA, MODELS, file_of, is_file_url
from tapeline.config.compose import flat, plain
from tapeline.config.schema import Cluster, Config
from tapeline.errors import Finding, nearest
from tapeline.lookup import source

OBJECTS = ("s3://", "gs://")
Rule = Callable[[Config, Cluster], Iterable[Finding]]


def store_can_be_reached(config: Config, target: Cluster) -> Iterator[Finding]:
    """The store is the volume at /models or object storage: pods cannot read a folder of this machine."""
    store = config.serving.store
    if not (_under(store, MODELS) or store.startswith(OBJECTS)):
        fix = f"set serving.store={MODELS} or a URL, for example s3://bucket/models"
        yield Finding(f"serving.store={store}", "pods cannot read this folder", fix)


def data_can_be_reached(config: Config, target: Cluster) -> Iterator[Finding]:
    """Data comes from a URL or from the volume at /data."""
    for key, value in flat(plain(config)["dataset"], "dataset").items():
        is_path = key.endswith((".path", ".password_file")) or (key == "dataset.url" and is_file_url(value))
        if (
            is_path
            and isinstance(value, str)
            and not _under(file_of(value), DATA)
            and (is_file_url(value) or "://" not in value)
        ):
            name = file_of(value).rpartition("/")[2]
            fix = f"copy it to the volume claim {target.data_claim} and write {DATA}/{name}"
            if key.endswith("password_file"):
                fix = "use dataset.password_env, with target.data_secret"
            yield Finding(f"{key}={value}", "pods cannot read this file", fix)


def _under(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def password_has_its_secret(config: Config, target: Cluster) -> Iterator[Finding]:
    """The variables that hold a password, or the source's credentials, come from a Secret."""
    for name, section in (("dataset", config.dataset), ("tune", config.tune)):
        variable = getattr(section, "password_env", None)
        if variable and not target.data_secret:
            fix = f"set target.data_secret to the Secret that has the key {variable}"
            yield Finding(f"{name}.password_env={variable}", "pods have no such variable", fix)
    if (keys := getattr(source(config.dataset), "KEYS", ())) and not target.data_secret:
        fix = f"set target.data_secret to a Secret with {keys[0]}"
        yield Finding(f"dataset.source={config.dataset.source}", "pods have no credentials for it", fix)


def study_is_within_reach(config: Config, target: Cluster) -> Iterator[Finding]:
    """A pod's own file is gone with the pod, and no second pod sees it."""
    storage = config.tune.storage if config.tune else None
    if storage and storage.startswith("sqlite"):
        fix = "set tune.storage=postgresql://user@host/database, or tune.storage=null"
        yield Finding("tune.storage=sqlite", "pods do not share this file", fix)


def runs_are_not_tracked(config: Config, target: Cluster) -> Iterator[Finding]:
    """Runs on a cluster are in no file of this machine."""
    if config.track:
        fix = "leave it out; it is read by run and sweep on this machine"
        yield Finding(f"track={config.track.name}", f"is not read, since target={target.name}", fix)


def secrets_are_used(config: Config, target: Cluster) -> Iterator[Finding]:
    """A Secret that no pod reads means that another key is wrong."""
    if target.store_secret and not config.serving.store.startswith(OBJECTS):
        problem = f"is not read, since serving.store={config.serving.store}"
        yield Finding(f"target.store_secret={target.store_secret}", problem, "set serving.store=s3://..., or remove it")
    if target.store_read_secret and not config.serving.store.startswith(OBJECTS):
        problem = f"is not read, since serving.store={config.serving.store}"
        fix = "set serving.store=s3://..., or remove it"
        yield Finding(f"target.store_read_secret={target.store_read_secret}", problem, fix)
    if target.cache_secret and not target.cache.startswith(OBJECTS):
        problem = f"is not read, since target.cache={target.cache}"
        yield Finding(f"target.cache_secret={target.cache_secret}", problem, "set target.cache=s3://..., or remove it")
    searches = config.tune and config.tune.password_env
    if target.data_secret and config.dataset.source == "simulated" and not searches:
        problem = "is not read, since dataset.source=simulated"
        yield Finding(f"target.data_secret={target.data_secret}", problem, "set dataset.source too, or remove it")


def quantities_are_valid(config: Config, target: Cluster) -> Iterator[Finding]:
    """CPU, memory and storage are quantities of Kubernetes; GPUs are set in hw.accelerator."""
    for where, content in _rooms(config, target):
        for kind, amount in content.items():
            if kind not in KINDS[:3]:
                fix = nearest(kind, KINDS[:3], otherwise="remove it; GPUs are set in hw.accelerator")
                yield Finding(f"{where}.{kind}", "is not a resource that can be set here", fix)
            elif quantity(amount) is None or quantity(amount) == 0:
                yield Finding(f"{where}.{kind}={amount}", "is not a quantity", "write it as 500m, 2 or 4Gi")


def _rooms(config: Config, target: Cluster) -> Iterator[tuple[str, dict[str, str]]]:
    yield from (("hw.requests", config.hw.requests), ("hw.limits", config.hw.limits))
    yield from (("target.requests", target.requests), ("target.limits", target.limits))


def requests_are_within_limits(config: Config, target: Cluster) -> Iterator[Finding]:
    """The API server refuses requests above the limits."""
    rooms = (("hw", config.hw.requests, config.hw.limits), ("target", target.requests, target.limits))
    for section, requests, limits in rooms:
        for kind in requests:
            low, high = quantity(requests[kind]), quantity(limits.get(kind))
            if low is not None and high is not None and low > high:
                where = f"{section}.requests.{kind}={requests[kind]}"
                yield Finding(
                    where, f"is more than {section}.limits.{kind}={limits[kind]}", "lower it, or raise the limit"
                )


def accelerator_is_known(config: Config, target: Cluster) -> Iterator[Finding]:
    """The node labels and the resource name of the GPU exist."""
    card = config.hw.accelerator
    for key, value in card.node_selector.items() if card else ():
        where = f"hw.accelerator.node_selector.{key}={value}"
        if not (is_label_key(key) and is_label_value(value)):
            yield Finding(where, "is not a valid node label", "write it as cloud.google.com/gke-accelerator: nvidia-l4")
        elif key == GKE and value not in ACCELERATORS:
            fix = nearest(value, ACCELERATORS, otherwise=f"use one of: {', '.join(ACCELERATORS)}")
            yield Finding(where, "GKE has no such GPU", fix)
    if card and card.resource not in KINDS[3:]:
        fix = nearest(card.resource, KINDS[3:], otherwise=f"use one of: {', '.join(KINDS[3:])}")
        yield Finding(f"hw.accelerator.resource={card.resource}", "no node has this resource", fix)


def images_are_fixed(config: Config, target: Cluster) -> Iterator[Finding]:
    """An image has a version or a digest, so that the tested image is the one that runs."""
    for key, image in (("hw.image", config.hw.image), ("target.image", target.image)):
        if why := mutable_image(image):
            yield Finding(f"{key}={image}", why, "use a version or a digest, for example :1.2.3")


def schedule_is_valid(config: Config, target: Cluster) -> Iterator[Finding]:
    """The schedule has five valid fields, and the time zone exists."""
    schedule, zone = getattr(target, "schedule", None), getattr(target, "timezone", None)
    if schedule is not None and (why := invalid_schedule(schedule)):
        yield Finding(f"target.schedule={schedule}", why, "write minute, hour, day, month, weekday: 30 17 * * 1-5")
    if zone is not None and not is_zone(zone):
        yield Finding(f"target.timezone={zone}", "there is no such time zone", "write it as Europe/London")


ABOUT = "cluster"
RULES: tuple[Rule, ...] = (
    store_can_be_reached,
    data_can_be_reached,
    password_has_its_secret,
    study_is_within_reach,
    runs_are_not_tracked,
    secrets_are_used,
    quantities_are_valid,
    requests_are_within_limits,
    accelerator_is_known,
    images_are_fixed,
    schedule_is_valid,
)
