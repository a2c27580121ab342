"""Mistakes in emitted YAML: workflows of Argo, pipelines of KFP, the pods of both."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest

from tapeline import files, lookup
from tapeline.checks.emitted import together
from tapeline.checks.nodes import Node
from tapeline.clusters import emit as build
from tests.checks.planting import DROP, WRONG_TYPES, Planted, forget, identity, paths, plant, replaced

TRAIN, GATE, GRAPH = "spec templates [train]", "spec templates [gate]", "spec templates [graph] dag tasks"
BOX = f"{TRAIN} container"
W, T = "w.yaml: spec", "w.yaml: spec.templates[train].container"

WORKFLOWS = [
    Planted("restricted.runs_as_non_root", f"{BOX} securityContext runAsNonRoot", False,
            f"{T}.securityContext.runAsNonRoot: the container may run as root; set it to true"),
    Planted("restricted.user_is_not_root", f"{BOX} securityContext runAsUser", 0,
            f"{T}.securityContext.runAsUser: 0 is the user root; set another user, for example 10001"),
    Planted("restricted.seccomp_is_on", f"{BOX} securityContext seccompProfile type", "Unconfined",
            f"{T}.securityContext.seccompProfile.type: system calls are not filtered; set it to RuntimeDefault"),
    Planted("restricted.cannot_gain_privileges", f"{BOX} securityContext allowPrivilegeEscalation", DROP,
            f"{T}.securityContext.allowPrivilegeEscalation: the process may gain privileges; set it to false"),
    Planted("restricted.has_no_capabilities", f"{BOX} securityContext capabilities", {"drop": ["ALL"], "add": ["SYS_ADMIN"]},
            f"{T}.securityContext.capabilities.add: SYS_ADMIN is forbidden; remove it"),
    Planted("restricted.is_not_privileged", f"{BOX} securityContext privileged", True,
            f"{T}.securityContext.privileged: gives the pod access to the node; remove it"),
    Planted("restricted.volumes_are_allowed", f"{TRAIN} volumes [tmp]", {"name": "tmp", "hostPath": {"path": "/tmp"}},
            f"{W}.templates[train].volumes[tmp].hostPath: is not allowed by the Pod Security Standard restricted; "
            "use a PersistentVolumeClaim or emptyDir"),
    Planted("restricted.secrets_are_references", f"{BOX} env []", {"name": "KAGGLE_KEY", "value": "0123456789abcdef"},
            f"{T}.env[KAGGLE_KEY].value: KAGGLE_KEY contains a secret in plain text; use valueFrom.secretKeyRef"),
    Planted("restricted.command_is_set", f"{BOX} command", DROP,
            f"{T}.command: is missing, so the image decides what runs; write the program"),
    Planted("restricted.no_shell_runs", f"{BOX} command", ["sh", "-c"],
            f"{T}.command: sh would interpret the arguments; write the program itself, with one list item for each argument"),
    Planted("restricted.no_shell_runs", f"{BOX} args", lambda words: ["bash", "-ec", *words],
            f"{T}.args: starts a shell; write the program itself, with one list item for each argument"),
    Planted("restricted.no_placeholder_is_left", f"{BOX} args []", "hw=${hw}",
            f"{T}.args[13]: ${{hw}} is an unresolved placeholder; write the value"),
    Planted("resources.resources_are_set", f"{BOX} resources limits memory", DROP,
            f"{T}.resources.limits.memory: is missing; set what the container needs, for example 500m or 2Gi"),
    Planted("resources.requests_are_within_limits", f"{BOX} resources requests memory", "9Gi",
            f"{T}.resources.requests.memory: 9Gi is more than the limit 8Gi; lower it, or raise the limit"),
    Planted("resources.resources_exist", f"{BOX} resources limits", lambda old: {**old, "nvidia.com/gpus": 1},
            f"{T}.resources.limits.nvidia.com/gpus: no node has the resource nvidia.com/gpus; "
            "did you mean nvidia.com/gpu?"),
    Planted("resources.gpus_are_whole", f"{BOX} resources",
            lambda old: {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {**old["limits"], "nvidia.com/gpu": "0.5"}},
            f"{T}.resources.limits.nvidia.com/gpu: 0.5 is not a whole number of GPUs; request 1 or more"),
    Planted("resources.accelerator_is_known", f"{TRAIN} nodeSelector cloud.google.com/gke-accelerator", "nvidia-tesla-T4",
            f"{W}.templates[train].nodeSelector.cloud.google.com/gke-accelerator: GKE has no GPU nvidia-tesla-T4; "
            "did you mean nvidia-tesla-t4?"),
    Planted("resources.gpus_are_requested_and_tolerated", f"{TRAIN} tolerations", DROP,
            f"{W}.templates[train].tolerations: the pod does not tolerate the taint of nodes with nvidia.com/gpu; "
            "add {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}"),
    Planted("resources.image_is_fixed", f"{BOX} image", "ghcr.io/tapeline/step:latest",
            f"{T}.image: ghcr.io/tapeline/step:latest has the mutable tag latest; "
            "use a version or a digest, for example :1.2.3"),
    Planted("resources.image_is_fixed", f"{BOX} image", "ghcr.io/tapeline/step",
            f"{T}.image: ghcr.io/tapeline/step has no tag, so it means the mutable tag latest; use a version or a digest, for example :1.2.3"),
    Planted("resources.mounts_have_volumes", f"{BOX} volumeMounts [tmp] name", "tpm",
            f"{T}.volumeMounts[tpm].name: the pod has no volume tpm; did you mean tmp?"),
    Planted("resources.names_are_given_once", f"{TRAIN} volumes []", {"name": "tmp", "emptyDir": {}},
            f"{W}.templates[train].volumes: tmp occurs 2 times; keep one"),
    Planted("names.names_are_dns", "metadata name", "Snp_Deep",
            "w.yaml: metadata.name: Snp_Deep is not a DNS name; write snp-deep"),
    Planted("names.label_keys_are_valid", "metadata labels", lambda old: {**old, "tape line/role": "runner"},
            "w.yaml: metadata.labels: tape line/role is not a valid label key; "
            "write name or domain/name, with at most 63 characters"),
    Planted("names.label_values_are_valid", f"{TRAIN} metadata labels app.kubernetes.io/component", "the training",
            f"{W}.templates[train].metadata.labels.app.kubernetes.io/component: the training is not a valid label value; "
            "use at most 63 letters, digits, hyphens, dots and underscores"),
    Planted("names.quantities_are_valid", f"{BOX} resources limits memory", "8GB",
            f"{T}.resources.limits.memory: 8GB is not a quantity; write 8Gi"),
    Planted("names.choices_exist", f"{BOX} imagePullPolicy", "ifNotPresent",
            f"{T}.imagePullPolicy: ifNotPresent is not allowed; did you mean IfNotPresent?"),
    Planted("names.variables_have_names", f"{BOX} env []", {"name": "TF-LOG", "value": "3"},
            f"{T}.env[TF-LOG].name: TF-LOG is not a valid variable name; use letters, digits and underscores"),
    Planted("names.no_secret_is_inside", f"{BOX} env []", {"name": "ID", "value": "AKIA" + "ABCDEFGH" * 2},
            f"{T}.env[ID].value: contains an access key of AWS; revoke it, and refer to a Secret that is created outside"),
    Planted("template_variables.variables_are_closed", f"{BOX} args []", "seed={{inputs.parameters.seed}",
            f"{T}.args[13]: 'seed={{{{inputs.parameters.seed}}' has unbalanced braces; write {{{{...}}}}"),
    Planted("template_variables.variables_exist", f"{BOX} args []", "seed={{inputs.parameters.sed}}",
            f"{T}.args[13]: {{{{inputs.parameters.sed}}}} is not a template variable here; did you mean inputs.parameters.seed?"),
    Planted("template_variables.variables_exist", f"{GRAPH} [publish] when", "{{tasks.gat.outputs.parameters.accepted}} == true",
            f"{W}.templates[graph].dag.tasks[publish].when: {{{{tasks.gat.outputs.parameters.accepted}}}} is not a "
            "template variable here; did you mean tasks.gate.outputs.parameters.accepted?"),
    Planted("template_variables.variables_exist", f"{GRAPH} [train] arguments parameters [seed] value",
            '{{=replace(workflow.parameters.sed, "$", "$$")}}',
            f"{W}.templates[graph].dag.tasks[train].arguments.parameters[seed].value: {{{{workflow.parameters.sed}}}} "
            "is not a template variable here; did you mean workflow.parameters.seed?"),
    Planted("template_variables.skipped_outputs_are_not_read", "spec templates [graph] outputs",
            {"artifacts": [{"name": "published", "from": "{{tasks.publish.outputs.artifacts.published}}"}]},
            f"{W}.templates[graph].outputs.artifacts[published].from: {{{{tasks.publish.outputs.artifacts.published}}}} "
            "is an output of a step that may be skipped; read an output of a step that always runs"),
    Planted("template_variables.only_earlier_outputs_are_read", f"{GRAPH} [report] depends", "features && evaluate",
            f"{W}.templates[graph].dag.tasks[report].arguments.artifacts[metrics].from: report does not depend on gate, "
            "whose output it reads; add gate to its depends"),
    Planted("template_variables.variables_change_no_pod", "spec templates [publish] serviceAccountName", "{{workflow.parameters.seed}}",
            f"{W}.templates[publish].serviceAccountName: {{{{workflow.parameters.seed}}}} lets a parameter change the "
            "pod; write a fixed value"),
    Planted("template_variables.arguments_hold_one_variable", f"{BOX} args []", "x={{inputs.parameters.seed}}{{inputs.parameters.model}}",
            f"{T}.args[13]: 'x={{{{inputs.parameters.seed}}}}{{{{inputs.parameters.model}}}}' holds several values; "
            "write one argument for each"),
    Planted("argo.templates_exist", "spec entrypoint", "grph",
            f"{W}.entrypoint: there is no template grph; did you mean graph?"),
    Planted("argo.templates_exist", f"{GRAPH} [features] template", "feature",
            f"{W}.templates[graph].dag.tasks[features].template: there is no template feature; did you mean features?"),
    Planted("argo.tasks_wait_for_tasks", f"{GRAPH} [publish] depends", "exprt && export && gate",
            f"{W}.templates[graph].dag.tasks[publish].depends: there is no task exprt; did you mean export?"),
    Planted("argo.arguments_fit_inputs", f"{GRAPH} [train] arguments parameters [seed]", DROP,
            f"{W}.templates[graph].dag.tasks[train].arguments.parameters: train needs the input seed; add it"),
    Planted("argo.conditions_compare", f"{GRAPH} [publish] when", "{{tasks.gate.outputs.parameters.accepted}}",
            f"{W}.templates[graph].dag.tasks[publish].when: is not a comparison; "
            "write it as '{{tasks.gate.outputs.parameters.accepted}} == true'"),
    Planted("argo.conditions_have_a_default", f"{GATE} outputs parameters [accepted] valueFrom default", DROP,
            f"{W}.templates[gate].outputs.parameters[accepted].valueFrom.default: is missing, and the "
            "condition of publish reads this parameter; add a default"),
    Planted("argo.retries_are_valid", f"{TRAIN} retryStrategy backoff duration", "half a minute",
            f"{W}.templates[train].retryStrategy.backoff.duration: half a minute is not a duration; write it as 30s or 5m"),
    Planted("argo.runs_end_and_are_removed", "spec activeDeadlineSeconds", DROP,
            f"{W}.activeDeadlineSeconds: is missing; set the seconds that a run may last, for example 14400"),
    Planted("argo.parameters_are_described", "spec arguments parameters [seed] description", DROP,
            f"{W}.arguments.parameters[seed].description: is missing; describe what the parameter is for"),
    Planted("argo.no_script_is_inside", TRAIN,
            lambda old: {**{key: old[key] for key in old if key != "container"},
                         "script": {**old["container"], "source": "print(1)"}},
            f"{W}.templates[train].script: parameters would become part of the code; use container with command and args"),
    Planted("argo.keys_of_artifacts_are_fixed", f"{TRAIN} outputs artifacts [fitted] s3 key",
            "{{inputs.parameters.model}}/fitted.tgz",
            f"{W}.templates[train].outputs.artifacts[fitted].s3.key: {{{{inputs.parameters.model}}}}/fitted.tgz can be "
            "outside the folder of the run; use {{workflow.name}} and fixed text"),
    Planted("argo.outputs_lie_on_volumes", "spec templates [summary] outputs", {"artifacts": [{"name": "text", "path": "/text"}]},
            f"{W}.templates[summary].outputs.artifacts[text].path: /text is on no volume, and the root file system is read-only; "
            "mount an emptyDir there"),
    Planted("argo.loops_pass_parameters", f"{GRAPH} [ingest] withItems", [1, 2],
            f"{W}.templates[graph].dag.tasks[features].arguments.artifacts[raw].from: "
            "{{tasks.ingest.outputs.artifacts.raw}} is an artifact of a loop, which Argo does not aggregate; read a parameter"),
    Planted("fields.fields_fit_their_schema", f"{TRAIN} nodeSelectr", {},
            f"{W}.templates[train].nodeSelectr: there is no such field; did you mean nodeSelector?"),
    Planted("fields.fields_fit_their_schema", f"{TRAIN} synchronization", {"mutex": {"name": "gpu"}},
            f"{W}.templates[train].synchronization.mutex: there is no such field; did you mean mutexes?"),
    Planted("fields.fields_fit_their_schema", "spec activeDeadlineSeconds", "four hours",
            f'{W}.activeDeadlineSeconds: must be of type integer, and is "four hours"; write an integer'),
    Planted("fields.fields_fit_their_schema", f"{TRAIN} container name", 7,
            f"{W}.templates[train].container.name: must be of type string, and is 7; write a string"),
    Planted("fields.fields_fit_their_schema", f"{TRAIN} container ports", [{}],
            f"{W}.templates[train].container.ports[0].containerPort: is missing; add it"),
    Planted("fields.fields_fit_their_schema", "metadata nam", "x",
            "w.yaml: metadata.nam: there is no such field; did you mean name?"),
]  # fmt: skip
# ruff: noqa: E501  # a line that a person reads stays one line

A = "k.yaml: deploymentSpec.executors.exec-train.container"
P = "k.yaml: platforms.kubernetes.deploymentSpec.executors.exec-train"
EXTRA = "platforms kubernetes deploymentSpec executors exec-train"
KBOX = "deploymentSpec executors exec-train container"

PIPELINES = [
    Planted("kfp.components_exist", "root dag tasks train componentRef name", "comp-trian",
            "k.yaml: root.dag.tasks.train.componentRef.name: there is no component comp-trian; did you mean comp-train?"),
    Planted("kfp.tasks_exist", "root dag tasks train inputs artifacts table taskOutputArtifact producerTask", "feature",
            "k.yaml: root.dag.tasks.train.inputs.artifacts.table.taskOutputArtifact.producerTask: there is no task feature; "
            "did you mean features?"),
    Planted("kfp.inputs_are_given", "root dag tasks train inputs parameters seed", DROP,
            "k.yaml: root.dag.tasks.train.inputs.parameters: train needs the input seed; add it"),
    Planted("kfp.conditions_read_inputs", "components comp-publish-if-accepted dag tasks condition-1 triggerPolicy condition",
            "inputs.parameter_values['accepted'] == 'true'",
            "k.yaml: components.comp-publish-if-accepted.dag.tasks.condition-1.triggerPolicy.condition: "
            "condition-1 has no input accepted; add it"),
    Planted("kfp.placeholders_exist", f"{KBOX} args []", "seed={{$.inputs.parameters['sed']}}",
            f"{A}.args[15]: {{{{$.inputs.parameters['sed']}}}} is not a template variable here; did you mean seed?"),
    Planted("kfp.placeholders_exist", f"{KBOX} args []", "seed={{inputs.parameters.seed}}",
            f"{A}.args[15]: 'seed={{{{inputs.parameters.seed}}}}' is not a placeholder of KFP; "
            "write {{$.inputs.parameters['name']}}"),
    Planted("kfp.skipped_outputs_are_not_read", "components comp-publish-if-accepted dag outputs",
            {"artifacts": {"published": {"artifactSelectors": [
                {"outputArtifactKey": "published", "producerSubtask": "condition-1"}]}}},
            "k.yaml: components.comp-publish-if-accepted.dag.outputs.artifacts.published.artifactSelectors[0]"
            ".producerSubtask: condition-1 may be skipped; read an output of a step that always runs"),
    Planted("restricted.runs_as_non_root", f"{EXTRA} securityContext runAsNonRoot", False,
            f"{A}.securityContext.runAsNonRoot: the container may run as root; set it to true"),
    Planted("restricted.no_shell_runs", f"{KBOX} command", ["sh", "-c"],
            f"{A}.command: sh would interpret the arguments; write the program itself, with one list item for each argument"),
    Planted("resources.image_is_fixed", f"{KBOX} image", "ghcr.io/tapeline/step:latest",
            f"{A}.image: ghcr.io/tapeline/step:latest has the mutable tag latest; "
            "use a version or a digest, for example :1.2.3"),
    Planted("resources.resources_exist", f"{KBOX} resources accelerator resourceType", "NVIDIA_TESLA_K80",
            f"{A}.resources.limits.NVIDIA_TESLA_K80: no node has the resource NVIDIA_TESLA_K80; "
            "use one of: cpu, memory, ephemeral-storage, nvidia.com/gpu, amd.com/gpu, google.com/tpu"),
    Planted("resources.accelerator_is_known", f"{EXTRA} nodeSelector labels cloud.google.com/gke-accelerator", "nvidia-t4",
            f"{P}.nodeSelector.cloud.google.com/gke-accelerator: GKE has no GPU nvidia-t4; did you mean nvidia-l4?"),
]  # fmt: skip


@cache
def documents(target: str) -> list[dict[str, Any]]:
    typed = [f"target={target}", "experiment=snp_deep", "hw=gpu-t4"]
    texts = build.emit(lookup.configure(typed), typed)
    return [each for text in texts.values() for each in files.yaml_documents(text)]


def lines(found: list[dict[str, Any]], file: str) -> list[str]:
    return list(dict.fromkeys(map(str, together([Node(each, file) for each in found]))))


def test_what_is_emitted_is_right() -> None:
    assert lines(documents("argo"), "w.yaml") == lines(documents("kfp"), "k.yaml") == []


@pytest.mark.parametrize("planted", WORKFLOWS, ids=identity)
def test_a_mistake_in_a_workflow_is_one_line(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = [plant(documents("argo")[0], planted.path, planted.value)]
    assert lines(wrong, "w.yaml") == [planted.line]
    forget(planted.rule, monkeypatch)
    assert lines(wrong, "w.yaml") == []


@pytest.mark.parametrize("planted", PIPELINES, ids=identity)
def test_a_mistake_in_a_pipeline_is_one_line(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, platform, *_ = documents("kfp")
    first = planted.path.split(" ")[0] != "platforms"
    wrong = [plant(pipeline, *planted[1:3]), platform] if first else [pipeline, plant(platform, *planted[1:3])]
    assert lines(wrong, "k.yaml") == [planted.line]
    forget(planted.rule, monkeypatch)
    assert lines(wrong, "k.yaml") == []


@pytest.mark.parametrize("target", ["argo", "kfp"])
def test_a_wrong_type_in_emitted_yaml_is_a_finding_and_no_traceback(target: str) -> None:
    """Wrong types, drawn with a seed, in the place of some values."""
    found, draw = documents(target)[:2], random.Random(target)
    places = [(number, path) for number, each in enumerate(found) for path in paths(each)]
    for number, path in draw.sample(places, 25):
        wrong = replaced(found[number], path, draw.choice(WRONG_TYPES))
        assert lines([*found[:number], wrong, *found[number + 1 :]], "x.yaml") is not None
