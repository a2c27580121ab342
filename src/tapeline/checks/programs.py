"""What a container starts: the program, its arguments as that program reads them, and the paths and ports in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from tapeline.checks.composed import composed
from tapeline.checks.nodes import Node
from tapeline.checks.pods import Pod, Rule
from tapeline.clusters import built
from tapeline.clusters.step_arguments import LAUNCHED, Call, read, wrong_paths
from tapeline.config import compose as conf
from tapeline.config.overrides import key_of
from tapeline.errors import Finding, Refused, nearest
from tapeline.pipeline.graph import present

SERVER, STORAGE = "tensorflow_model_server", "weed"
KNOWN = ("tapeline", "python3", "python", SERVER, STORAGE, "jupyter", "jupyterlab")
FLAGS = (
    *("port", "rest_api_port", "rest_api_num_threads", "rest_api_timeout_in_ms", "rest_api_enable_cors_support"),
    *("model_config_file", "model_config_file_poll_wait_seconds", "model_name", "model_base_path", "model_platform"),
    *("monitoring_config_file", "ssl_config_file", "batching_parameters_file", "enable_batching", "grpc_socket_path"),
    *("platform_config_file", "num_load_threads", "num_unload_threads", "max_num_load_retries", "saved_model_tags"),
    *("load_retry_interval_micros", "file_system_poll_wait_seconds", "flush_filesystem_caches", "version"),
    *("tensorflow_session_parallelism", "tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism"),
    *("grpc_max_threads", "grpc_channel_arguments", "enable_model_warmup", "num_request_iterations_for_warmup"),
    *("per_process_gpu_memory_fraction", "allow_version_labels_for_unavailable_models", "use_tflite_model"),
    *("enable_grpc_healthcheck_service", "remove_unused_fields_from_bundle_metagraph", "enable_profiler"),
    *("enable_signature_method_name_check", "xla_cpu_compilation_enabled", "xla_gpu_compilation_enabled"),
    *("thread_pool_factory_config_file", "mixed_precision", "skip_initialize_tpu", "enable_per_model_metrics"),
)
"""Of TF Serving 2.20, main.cc."""
PORT_FLAGS = {SERVER: ("--port", "--rest_api_port"), STORAGE: ("-s3.port",)}
METRICS = "/monitoring/prometheus/metrics"
PATH = re.compile(r"(?:^|=)(/[\w.\-]+(?:/[\w.\-]+)*)/?$")
MODEL_PATH = re.compile(r"/v1/models/[^/:]+(/versions/\d+)?(/metadata)?")


def words(container: Node) -> list[str]:
    """Command and arguments."""
    return [str(each.value) for key in ("command", "args") for each in container.at(key).each()]


def program(container: Node) -> str:
    """The program that a container starts, without its folder; "" where the image decides."""
    return next(iter(words(container)), "").rpartition("/")[2]


def arguments(container: Node) -> list[str] | None:
    """The words behind `tapeline`; None where the container starts another program."""
    found = words(container)
    if found[:3] in (["python3", "-m", "tapeline"], ["python", "-m", "tapeline"]):
        return found[3:]
    return found[1:] if program(container) == "tapeline" else None


def programs_exist(pod: Pod) -> Iterator[Finding]:
    """A program that is not in the image ends the pod at once."""
    for container in pod.containers:
        name, command = program(container), container.at("command")
        close = nearest(name, KNOWN, otherwise="")
        if name and name not in KNOWN and close:
            yield command.wrong(f"no image has the program {name}", close)
        second = words(container)[1:3]
        if name.startswith("python") and second[:1] == ["-m"] and second[1:] != ["tapeline"]:
            close = nearest("".join(second[1:]), ("tapeline",), otherwise="")
            if close:
                yield command.wrong(f"there is no module {' '.join(second[1:])}", close)
        elif name.startswith("python") and second and not second[0].startswith(("-m", "-c", "-u", "/")):
            yield command.wrong(f"{second[0]} is not an option of Python here", "write python3 -m tapeline")


def steps_read_their_arguments(pod: Pod) -> Iterator[Finding]:
    """A step refuses unknown names, overrides and artifacts, and a configuration that is not the one that was built."""
    for container in pod.containers:
        found = arguments(container)
        # what ${oc.env:NAME} stands for is known in the pod only
        if found and found[0] == "step" and not any("${" in word for word in found):
            for each in _of_step(str(conf.folder()), tuple(filter(_is_complete, found[1:]))):
                yield container.at("args").wrong(f"{each.where}: {each.problem}", each.fix)


def _is_complete(word: str) -> bool:
    """Other rules name braces that are not one template variable."""
    return word.count("{{") == word.count("}}") <= 1


@lru_cache(maxsize=512)
def _of_step(folder: str, given: tuple[str, ...]) -> tuple[Finding, ...]:
    """What `tapeline step` says of arguments, without a look at files."""
    del folder  # part of the key of the cache
    try:
        call = called(given)
        config = composed(call.overrides)
        steps = call.steps(present(config))
        if call.built is not None:
            built.check(call.built, config, (), steps)
    except Refused as error:
        return error.findings
    keys = conf.flat(conf.plain(config))
    strange = [text for text in call.submitted if not _is_key(key_of(text), keys)]
    unknown = [
        Finding(text, "the configuration has no such key", nearest(key_of(text), list(keys), otherwise="leave it out"))
        for text in strange
    ]
    return (*unknown, *wrong_paths(call, steps))


def _is_key(key: str, keys: dict[str, object]) -> bool:
    return conf.is_group(key) or any(each == key or each.startswith(f"{key}.") for each in keys)


def called(given: Sequence[str]) -> Call:
    """The arguments as the step reads them; what a run fills in is left open."""
    kept, rest = [], iter(given)
    for word in rest:
        if word == LAUNCHED:
            next(rest, "")
        else:
            kept.append(re.sub(r"\{\{.*?\}\}", "x", word, flags=re.DOTALL))
    return read(kept)


def artifacts_lie_where_steps_look(pod: Pod) -> Iterator[Finding]:
    """Argo puts an artifact at a path, and takes it from one: those of the step's arguments."""
    template = pod.levels[0]
    for container in pod.containers:
        found = arguments(container)
        if not found or found[0] != "step" or template.at("inputs").value is None:
            continue
        try:
            call = called(found[1:])
        except Refused:
            continue
        taken = {str(path) for path in (*call.inputs.values(), *call.optional.values())}
        made = {str(path) for path in call.outputs.values()}
        parameters = {each.at("valueFrom", "path").text for each in template.at("outputs", "parameters").each()}
        yield from _apart(template.at("inputs", "artifacts"), taken, "--in")
        yield from _apart(template.at("outputs", "artifacts"), made - parameters, "--out")
        for each in template.at("outputs", "parameters").each():
            path = each.at("valueFrom", "path")
            if path.text and path.text not in made:
                yield path.wrong(
                    "no --out of the step writes this file", nearest(path.text, sorted(made), otherwise="")
                )


def _apart(artifacts: Node, paths: set[str], flag: str) -> Iterator[Finding]:
    known = {each.at("path").text for each in artifacts.each()}
    for each in artifacts.each():
        path = each.at("path")
        if path.text and "{{" not in path.text and path.text not in paths:
            yield path.wrong(
                f"no {flag} of the step names this path", nearest(path.text, sorted(paths), otherwise="add it")
            )
    for path_ in sorted(paths - known):
        if path_.startswith("/"):
            yield artifacts.wrong(f"{flag} names {path_}, and no artifact lies there", "give both the same path")


def paths_lie_on_mounts(pod: Pod) -> Iterator[Finding]:
    """A path in an argument is on a volume that the container mounts."""
    for container in pod.containers:
        if program(container) not in KNOWN:
            continue
        mounts = [str(each.at("mountPath").value).rstrip("/") for each in container.at("volumeMounts").each()]
        for key in ("command", "args"):
            for each in list(container.at(key).each())[key == "command" :]:
                found = PATH.search(each.text)
                if found and mounts and not any(f"{found[1]}/".startswith(f"{mount}/") for mount in mounts):
                    yield each.wrong(
                        f"{found[1]} lies on no volume of the container", f"use one of: {', '.join(mounts)}"
                    )


def servers_know_their_flags(pod: Pod) -> Iterator[Finding]:
    """TF Serving ends at a flag that it does not know, or a value of another type."""
    for container in pod.containers:
        if program(container) != SERVER:
            continue
        for each in container.at("args").each():
            name, equals, value = each.text.removeprefix("--").partition("=")
            if not each.text.startswith("--") or name not in FLAGS:
                yield each.wrong(
                    f"{SERVER} has no flag {each.text.partition('=')[0]}", nearest(name, FLAGS, otherwise="remove it")
                )
            elif equals and name.endswith(("port", "threads", "seconds")) and not re.fullmatch(r"\d+(\.\d+)?", value):
                yield each.wrong(f"{value} is not a number", f"write as in --{name}=5")
        given = {each.text.partition("=")[0] for each in container.at("args").each()}
        if not given & {"--model_config_file", "--model_base_path"}:
            yield container.at("args").wrong("no model is named", "add --model_config_file=/models/models.config")


def ports_are_those_of_the_program(pod: Pod) -> Iterator[Finding]:
    """Declared ports and probes are where the program listens."""
    for container in pod.containers:
        flags = PORT_FLAGS.get(program(container), ())
        listening = {
            int(value): name
            for each in container.at("args").each()
            for name, _, value in [each.text.partition("=")]
            if name in flags and value.isdecimal()
        }
        declared = {each.at("name").value: each.at("containerPort").value for each in container.at("ports").each()}
        for each in container.at("ports").each():
            number = each.at("containerPort")
            if listening and number.value not in listening:
                yield number.wrong(f"the program listens on {', '.join(map(str, listening))}", "use one of these")
        for port, flag in listening.items():
            if declared and port not in declared.values():
                yield container.at("ports").wrong(f"{flag}={port} is not among them", "declare it")
        yield from _probes(container, listening, declared)


def _probes(container: Node, listening: dict[int, str], declared: dict[object, object]) -> Iterator[Finding]:
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        http = container.at(probe, "httpGet")
        for how in ("httpGet", "tcpSocket", "grpc"):
            port = container.at(probe, how, "port")
            number = declared.get(port.value, port.value)
            if isinstance(number, int) and declared and number not in declared.values():
                yield port.wrong(f"no port of the container is {port.value}", "use one of its ports")
            if how == "httpGet" and listening.get(number) == "--port":  # type: ignore[call-overload]
                yield port.wrong("the server answers gRPC there, not HTTP", "use the port of --rest_api_port")
        path = http.at("path")
        if program(container) == SERVER and path.text and path.text != METRICS and not MODEL_PATH.fullmatch(path.text):
            yield path.wrong(f"{SERVER} has no such path", f"write {METRICS}, which answers when all models are loaded")


ABOUT = "pod"
RULES: tuple[Rule, ...] = (
    programs_exist,
    steps_read_their_arguments,
    artifacts_lie_where_steps_look,
    paths_lie_on_mounts,
    servers_know_their_flags,
    ports_are_those_of_the_program,
)
