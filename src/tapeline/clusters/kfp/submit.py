"""Runs of a pipeline through the API of Kubeflow Pipelines at `target.address`.

Whoever is let in is for KFP's own client to say: its variables (KF_PIPELINES_SA_TOKEN_PATH names a file
with a token) and ~/.config/kfp hold. Files come from `target.artifacts` where it is set. Without it the
API is asked, which in 2.17 hands out artifacts of Argo's only, and so none of ours.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from tapeline.clusters.kfp import pipeline as emitter
from tapeline.clusters.plan import plan, split
from tapeline.clusters.run_status import SECONDS, Part, Seen, State
from tapeline.config.overrides import parse
from tapeline.config.schema import Config, Kfp
from tapeline.errors import Refused, refuse
from tapeline.lookup import configure as compose
from tapeline.pipeline.graph import FETCHED, Artifact, Step, pipeline

STATES: dict[str, State] = {
    "SUCCEEDED": "ran",
    "SKIPPED": "skipped",
    "FAILED": "failed",
    "CANCELED": "failed",
}
"""Our status for each final state of a task."""
ENDS = {"SUCCEEDED": "succeeded", "FAILED": "failed", "CANCELED": "failed"}
"""Our status for each final state of a run."""
EXPERIMENT = "tapeline"
"""The experiment of our runs in KFP."""
TOKEN = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105 (the name of a variable)
TRIES = 5
"""Failed status requests, with a doubled pause each time, before following ends."""


def begin(config: Config, overrides: Sequence[str], *, apply: bool) -> str:
    """Start a run; the request contains the pipeline, so there is nothing to apply.

    Raises:
        Refused: KFP does not answer, does not let us in or takes no such pipeline, or a parameter is not plain.
    """
    built, submitted = split(parse(overrides), _section(config).parameters)
    general = plan(compose(built), built)
    names = {each.key: each.name for each in general.parameters}
    pipeline, *platform = yaml.safe_load_all(emitter.emit(general)[f"{general.name}.yaml"])
    client = _client(config)
    models = client.api_models
    run = models.V2beta1Run(
        experiment_id=_experiment(config, client),
        display_name=general.name,
        pipeline_spec={"pipeline_spec": pipeline, "platform_spec": platform[0]},
        runtime_config=models.V2beta1RuntimeConfig(parameters={names[key]: value for key, value in submitted.items()}),
        service_account=_section(config).publisher,
    )
    return str(_ask(config, client.runs.run_service_create_run, run).run_id)


def look(config: Config, run: str) -> Seen:
    """By the run's tasks."""
    patient = Retrying(
        retry=retry_if_exception_type(Lost),
        wait=wait_exponential(multiplier=SECONDS),
        stop=stop_after_attempt(TRIES),
        reraise=True,
    )
    content = patient(_ask, config, _client(config).runs.run_service_get_run, run)
    details = {each.display_name: each for each in (content.run_details and content.run_details.task_details) or ()}
    ended = ENDS.get(content.state or "", "")
    parts = [part for step in pipeline(config) if (part := _part(step, details.get(step.name), ended))]
    return Seen(parts, cast(Any, ended), _message(content))


def _part(step: Step, detail: Any, ended: str) -> Part | None:
    if detail is None:
        skipped = step.when and ended == "succeeded"
        return Part(step.name, "skipped", note=f"{step.when} is not true") if skipped else None
    state = STATES.get(detail.state or "", "runs")
    begun, done = detail.start_time or detail.create_time, detail.end_time
    return Part(step.name, state, (done - begun).total_seconds() if begun and done else 0.0, _message(detail))


def _message(content: Any) -> str:
    return " ".join((content.error.message or "").split()) if content.error else ""


def fetch(config: Config, run: str) -> dict[str, bytes]:
    """Each file, from the artifacts of its task.

    Raises:
        Refused: they are not to be had.
    """
    ran = {part.name for part in look(config, run).parts if part.state == "ran"}
    makers = {made.name: step for step in pipeline(config) for made in step.makes}
    wanted = {made: makers[made.name] for made in FETCHED if makers[made.name].name in ran}
    take = _stored if _section(config).artifacts else _handed
    return {made.file: take(config, run, step, made) for made, step in wanted.items()}


def _stored(config: Config, run: str, step: Step, made: Artifact) -> bytes:
    """Read an artifact where KFP's launcher writes it: <root>/<pipeline>/<run>/<task>/<number>/<artifact>."""
    content = _ask(config, _client(config).runs.run_service_get_run, run)
    root = str(_section(config).artifacts).rstrip("/")
    pattern = f"{root}/{content.display_name}/{run}/{step.name}/*/{made.name}"
    try:
        import fsspec

        files, path = fsspec.core.url_to_fs(pattern)
        found = files.glob(path)
        if found:
            return cast(bytes, files.cat_file(found[-1]))
    except Exception as error:  # each file system raises its own kinds
        what = " ".join(str(error).split()) or type(error).__name__
        raise refuse(f"target.artifacts={root}", f"cannot be read ({what})", "check the address and access") from None
    raise refuse(f"target.artifacts={root}", f"has no {made.name} of {run}", "set it to the root of KFP's pipelines")


def _handed(config: Config, run: str, step: Step, made: Artifact) -> bytes:
    """Read an artifact through the API."""
    client = _client(config)
    content = _ask(config, client.runs.run_service_get_run, run)
    (node,) = (each.pod_name for each in content.run_details.task_details if each.display_name == step.name)
    try:
        answer = _ask(
            config,
            client.runs.api_client.call_api,
            "/apis/v2beta1/runs/{run_id}/nodes/{node_id}/artifacts/{artifact_name}:read",
            "GET",
            {"run_id": run, "node_id": node, "artifact_name": made.name},
            header_params={"Accept": "application/json"},
            response_type="object",
            auth_settings=["Bearer"],
            _return_http_data_only=True,
        )
        return base64.b64decode(answer["data"])
    except Missing:
        fix = (
            "set target.artifacts to the root of its artifacts, for example s3://mlpipeline/v2/artifacts, and add run="
            + run
        )
        raise refuse(run, f"{_decision(config, content)}, but this KFP does not return files", fix) from None


def _decision(config: Config, content: Any) -> str:
    ran = {each.display_name for each in content.run_details.task_details if each.state == "SUCCEEDED"}
    accepted = all(step.name in ran for step in pipeline(config) if step.when)
    return f"it succeeded, and the model was {'accepted' if accepted else 'rejected'}"


def hint(config: Config, run: str) -> str:
    """The run's page in KFP."""
    return f"{_section(config).address.rstrip('/')}/#/runs/details/{run}"


class Lost(Refused):
    """KFP does not answer; a later request may succeed."""


class Missing(Refused):
    """KFP answered 404."""


def _section(config: Config) -> Kfp:
    return cast(Kfp, config.target)


def _client(config: Config) -> Any:
    return _connected(_section(config).address, _section(config).namespace, os.environ.get(TOKEN))


@cache
def _connected(address: str, namespace: str, path: str | None) -> Any:
    """KFP's own client, which knows how to log in; this sends no request.

    Args:
        address: of the API.
        namespace: where runs go, in a KFP with many users.
        path: a file with a token.
    """
    try:
        from kfp.client import Client
        from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials
    except ImportError:
        raise refuse("target=kfp", "kfp is not installed", "install tapeline[kfp]") from None
    if path and not Path(path).is_file():
        raise refuse(f"{TOKEN}={path}", "no such file", "write a token into it")
    # it says each try that fails; the last one's sentence is what a person needs
    logging.getLogger("urllib3.connectionpool").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Client(
            host=address,
            # with a namespace it does not ask the server for one, five times if need be
            namespace=namespace,
            credentials=ServiceAccountTokenVolumeCredentials() if path else None,
        )


def _experiment(config: Config, client: Any) -> str:
    """The id of our experiment, which is created if it does not exist; multi-user KFP needs a namespace."""
    health = _ask(config, client.healthzs.healthz_service_get_healthz)
    if health.multi_user is None:
        address = f"target.address={_section(config).address}"
        raise refuse(address, "is not the API of Kubeflow Pipelines, or needs a login", "check the address, and log in")
    where = {"namespace": _section(config).namespace} if health.multi_user else {}
    same = {"operation": "EQUALS", "key": "display_name", "stringValue": EXPERIMENT}
    found = _ask(
        config,
        client.experiments.experiment_service_list_experiments,
        filter=json.dumps({"predicates": [same]}),
        **where,
    ).experiments
    if not found:
        ours = client.api_models.V2beta1Experiment(display_name=EXPERIMENT, **where)
        found = [_ask(config, client.experiments.experiment_service_create_experiment, ours)]
    return str(found[0].experiment_id)


def _ask(config: Config, call: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    """One request to the API.

    Raises:
        Lost: it does not answer.
        Missing: it has no such thing.
        Refused: it says no.
    """
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    address = f"target.address={_section(config).address}"
    try:
        return call(*arguments, **more, _request_timeout=60)
    except HTTPError as error:
        what = " ".join(str(getattr(error, "reason", None) or error).split())
        raise Lost(
            *refuse(address, f"does not answer ({what})", "check the address and the port-forward").findings
        ) from None
    except ApiException as error:
        if error.status in (401, 403):
            fix = f"set {TOKEN} to a file with a token that has access"
            raise refuse(address, f"denies access ({error.status}: {_said(error)})", fix) from None
        if error.status == 404:
            raise Missing(
                *refuse(address, f"has no such resource ({_said(error)})", "check its version").findings
            ) from None
        if error.status and error.status >= 500:
            raise Lost(*refuse(address, f"failed ({error.status}: {_said(error)})", "try again").findings) from None
        raise refuse(
            address, f"refuses the request ({_said(error)})", "check its version, which should be 2.17"
        ) from None


def _said(error: Any) -> str:
    """The message of an answer."""
    try:
        content = json.loads(error.body)
        text = str(content.get("message") or content.get("error_message") or content.get("error"))
    except (ValueError, TypeError, AttributeError):
        text = str(error.reason)
    return " ".join(text.split())
