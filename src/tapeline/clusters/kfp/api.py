"""The API of Kubeflow Pipelines at `target.address`; each of its errors becomes one sentence.

Who is let in is for KFP's own client to say: its variables (KF_PIPELINES_SA_TOKEN_PATH names a file with a
token) and ~/.config/kfp hold. KFP 2.17 gives no reason of a failure in its present API; two older paths have them:
the Argo Workflow of a run, and the log of a pod while the pod is there.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

from tapeline.config.schema import Config, Kfp
from tapeline.errors import Refused, refuse

EXPERIMENT = "tapeline"
"""The experiment of our runs in KFP."""
TOKEN = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105 (the name of a variable)
SECONDS = 60
"""Until a request without an answer counts as lost."""


class Lost(Refused):
    """KFP does not answer; a later request may succeed."""


class Missing(Refused):
    """KFP answered 404."""


def section(config: Config) -> Kfp:
    """The section target."""
    return cast(Kfp, config.target)


def client(config: Config) -> Any:
    """KFP's own client."""
    return _connected(section(config).address, os.environ.get(TOKEN))


@cache
def _connected(address: str, path: str | None) -> Any:
    """KFP's own client, which knows how to log in; this sends no request.

    Args:
        address: of the API.
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
            # with any namespace but kubeflow it does not ask the server for one, five times if need be
            namespace=EXPERIMENT,
            credentials=ServiceAccountTokenVolumeCredentials() if path else None,
        )


def many_users(config: Config) -> bool:
    """Whether this KFP has many users, each with a namespace; else it runs everything in its own.

    Raises:
        Refused: it is not KFP, or it does not answer.
    """
    health = ask(config, client(config).healthzs.healthz_service_get_healthz)
    if health.multi_user is None:
        address = f"target.address={section(config).address}"
        raise refuse(address, "is not the API of Kubeflow Pipelines, or needs a login", "check the address, and log in")
    return bool(health.multi_user)


def experiment(config: Config, *, multi_user: bool) -> str:
    """The id of our experiment, which is created if it does not exist; multi-user KFP needs a namespace."""
    where = {"namespace": section(config).namespace} if multi_user else {}
    same = {"operation": "EQUALS", "key": "display_name", "stringValue": EXPERIMENT}
    asked = client(config)
    found = ask(
        config,
        asked.experiments.experiment_service_list_experiments,
        filter=json.dumps({"predicates": [same]}),
        **where,
    ).experiments
    if not found:
        ours = asked.api_models.V2beta1Experiment(display_name=EXPERIMENT, **where)
        found = [ask(config, asked.experiments.experiment_service_create_experiment, ours)]
    return str(found[0].experiment_id)


def manifest(config: Config, run: str) -> str:
    """The Argo Workflow of a run as JSON, of several hundred KB; empty as long as KFP has none."""
    answer = _old(config, f"/apis/v1beta1/runs/{run}", response_type="object")
    return str((answer.get("pipeline_runtime") or {}).get("workflow_manifest") or "")


def log(config: Config, run: str, pod: str) -> str:
    """The log of a pod; empty if the pod is gone."""
    try:
        return str(_old(config, f"/apis/v1alpha1/runs/{run}/nodes/{pod}/log", response_type="str"))
    except (Refused, UnicodeDecodeError):
        return ""


def _old(config: Config, path: str, **more: Any) -> Any:
    call = client(config).runs.api_client.call_api
    accept = {"Accept": "application/json, text/plain"}
    more |= {"header_params": accept, "auth_settings": ["Bearer"], "_return_http_data_only": True}
    return ask(config, call, path, "GET", **more)


def ask(config: Config, call: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    """One request to the API.

    Raises:
        Lost: it does not answer.
        Missing: it has no such thing.
        Refused: it says no.
    """
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    address = f"target.address={section(config).address}"
    try:
        return call(*arguments, **more, _request_timeout=SECONDS)
    except HTTPError as error:
        what = " ".join(str(getattr(error, "reason", None) or error).split())
        raise Lost(
            *refuse(address, f"does not answer ({what})", "check the address and the port-forward").findings
        ) from None
    except ApiException as error:
        if error.status in (401, 403):
            fix = f"set {TOKEN} to a file with a token that has access to namespace {section(config).namespace}"
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
