from __future__ import annotations

import pytest

from tapeline import lookup
from tapeline.clusters.mounts import Mount
from tapeline.clusters.plan import SUBMITTED, Plan, plan, split
from tapeline.clusters.pod_secrets import Secret
from tapeline.config import compose as conf
from tapeline.config.overrides import check_plain, parse
from tapeline.errors import Refused
from tapeline.pipeline.graph import STEPS
from tests.conftest import Tapeline

TYPED = [
    ["target=argo", "experiment=snp_deep", "hw=gpu"],
    ["target=kfp", "model=flat", "model.steps=7", "dataset.source=csv", "dataset.path=/data/closes.csv", "seed=3"],
    [
        "target=argo",
        "serving.store=s3://bucket/models",
        "target.store_secret=keys",
        "serving.name=mine",
        "gate=accuracy",
    ],
    ["target=kfp", "model=lightgbm", "tune=optuna", "tune.trials=3", "gate=default", "tune.storage=sqlite:////tmp/x"],
    ["target=tfjob", "split=walk_forward", "+split.windows=3", "gate.threshold=0.5", "dataset.cutoff_year=2010"],
    ["target=kfp", "dataset=faces", "dataset.rows=50", "model=conv", "model.steps=7"],
]


def _plan(*typed: str, fused: bool = False) -> Plan:
    return plan(lookup.configure(typed), typed, fused=fused)


@pytest.mark.parametrize("typed", TYPED, ids=" ".join)
@pytest.mark.parametrize("fused", [False, True])
def test_each_task_composes_what_its_steps_read_of_the_whole(typed: list[str], fused: bool) -> None:
    whole = lookup.configure(typed)
    for task in plan(whole, typed, fused=fused).tasks:
        own = lookup.configure(task.overrides)
        for step in task.steps:
            assert conf.values_of(own, step.reads) == conf.values_of(whole, step.reads)
            if step.store != "none":
                assert own.serving.store == whole.serving.store


def test_a_task_gets_no_override_that_its_steps_do_not_read() -> None:
    tasks = {task.name: task for task in _plan("target=kfp", "model=flat", "seed=3", "dataset.seed=4").tasks}
    assert tasks["features"].overrides == ("dataset.seed=4",)
    assert tasks["train"].overrides == ("model=flat", "seed=3")
    assert [each.name for each in tasks["train"].parameters] == ["model", "model_steps", "seed"]
    assert tasks["ingest"].overrides == ("dataset.seed=4",)
    assert [each.name for each in tasks["ingest"].parameters] == ["dataset_cutoff_year", "dataset_path"]


def test_a_search_is_a_task_with_the_hardware_of_training_and_training_takes_what_it_found() -> None:
    made = _plan("target=argo", "model=lightgbm", "tune=optuna", "hw=gpu", "tune.trials=3")
    tasks = {task.name: task for task in made.tasks}
    assert "tune" not in {task.name for task in _plan("target=argo", "model=lightgbm").tasks}
    assert [task.name for task in made.tasks][1:4] == ["features", "tune", "train"]
    assert (tasks["tune"].image, tasks["tune"].accelerator) == (tasks["train"].image, tasks["train"].accelerator)
    assert {"model=lightgbm", "tune=optuna", "tune.trials=3"} <= set(tasks["tune"].overrides)
    assert "tune=optuna" not in tasks["train"].overrides
    assert "best" in tasks["train"].optional
    assert all("study" in tasks[name].optional for name in ("gate", "report"))


def test_the_tune_task_alone_has_the_password_of_its_database() -> None:
    typed = ["target=argo", "model=lightgbm", "tune=optuna", "target.data_secret=data", "tune.password_env=STUDY"]
    tasks = {task.name: task for task in _plan(*typed, "tune.storage=postgresql://me@db/x").tasks}
    assert [secret.keys[-1] for secret in tasks["tune"].secrets] == ["STUDY"]
    assert not tasks["train"].secrets
    assert all("STUDY" not in secret.keys for secret in tasks["ingest"].secrets)


def test_fused_all_but_the_conditional_steps_share_a_pod() -> None:
    first, last = _plan("target=argo", "hw=gpu", fused=True).tasks
    everything = [step.name for step in STEPS if step.only_with is None]
    assert [step.name for step in (*first.steps, *last.steps)] == everything
    assert (first.name, first.takes, first.outputs, first.when) == ("run", (), ("accepted",), None)
    assert (last.name, last.takes, last.when) == ("publish", ("servable", "metrics"), "accepted")
    assert first.accelerator is not None
    assert last.accelerator is None


def test_only_gate_and_publish_see_the_store_and_only_ingest_the_data() -> None:
    tasks = _plan(*TYPED[1]).tasks
    mounts = {task.name: task.mounts for task in tasks if task.mounts}
    assert mounts == {
        "ingest": (Mount("data", "/data", True),),
        "gate": (Mount("models", "/models", True),),
        "publish": (Mount("models", "/models", False),),
    }
    on_argo = _plan(*TYPED[2]).tasks
    secrets = {task.name: task.secrets for task in on_argo if task.secrets}
    assert set(secrets) == {"gate", "publish"}
    assert isinstance(secrets["gate"][0], Secret)
    assert {task.account for task in on_argo if task.name != "publish"} == {"tapeline-runner"}
    assert on_argo[-1].account == "tapeline-publisher"


def test_pods_of_kfp_have_the_account_of_their_run() -> None:
    assert {task.account for task in _plan(*TYPED[1]).tasks} == {None}
    with pytest.raises(Refused) as caught:
        _plan(*TYPED[1], "target.runner=mine", "target.publisher=mine")
    assert {each.where for each in caught.value.findings} == {"target.runner", "target.publisher"}


@pytest.mark.parametrize(
    ("typed", "claims"),
    [
        (["dataset.source=csv", "dataset.path=/data/closes.csv"], ["data"]),
        (["dataset.source=sql", "dataset.url=sqlite:////data/x.db"], ["data"]),
        (["dataset.source=sql", "dataset.url='${oc.env:URL}'"], []),
        (["dataset.source=files", "dataset.files.snp=/data/snp.csv"], ["data"]),
        (["dataset.source=csv", "dataset.path=s3://bucket/closes.csv"], []),
        (["dataset.source=csv"], []),
        (["dataset.source=csv", "dataset.path=/database/closes.csv"], []),
    ],
    ids=" ".join,
)
def test_the_claim_for_data_is_mounted_for_a_file_on_it_alone(
    typed: list[str], claims: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URL", "postgresql://reader@db/prices")
    ingest = _plan("target=argo", *typed).tasks[0]
    assert [mount.claim for mount in ingest.mounts] == claims


def test_a_submitted_file_on_the_claim_for_data_is_built_into_the_graph() -> None:
    keys = ("dataset.path", "model.steps")
    built, submitted = split(parse(["dataset.path=/data/a.csv", "model.steps=7"]), keys)
    assert (built, submitted) == (["dataset.path=/data/a.csv"], {"model.steps": "7"})
    built, submitted = split(parse(["dataset.path=s3://b/a.csv", "model.steps=7"]), keys)
    assert (built, submitted) == ([], {"dataset.path": "s3://b/a.csv", "model.steps": "7"})


def test_one_secret_may_serve_both_the_data_and_the_store() -> None:
    both = _plan(*TYPED[2], "target.data_secret=keys", fused=True).tasks[0].secrets
    assert [each.name for each in both] == ["keys"]


def test_two_secrets_of_one_pod_may_not_have_the_same_keys() -> None:
    of_data = ("dataset.source=csv", "dataset.path=s3://data/closes.csv", "target.data_secret=data")
    both = (*TYPED[2], *of_data)
    assert {task.name: len(task.secrets) for task in _plan(*both).tasks}["ingest"] == 1
    with pytest.raises(Refused, match="needs Secrets") as caught:
        _plan(*both, fused=True)
    assert "target.granularity=step" in caught.value.findings[0].fix


def test_what_looks_at_the_world_is_not_cached() -> None:
    assert [task.name for task in _plan("target=kfp").tasks if not task.cached] == ["gate", "publish"]
    assert [task.name for task in _plan(*TYPED[1]).tasks if not task.cached] == ["ingest", "gate", "publish"]


def test_parameters_say_what_they_are_and_what_was_built() -> None:
    record = {each.key: each.description for each in _plan("target=argo", "experiment=snp_flat").parameters}
    assert record["model"] == "model: one of conv, deep, flat, lightgbm; empty means as built: flat"
    assert record["dataset.cutoff_year"] == "dataset.cutoff_year; empty means as built: 2010"


def test_a_parameter_that_is_no_key_is_refused() -> None:
    with pytest.raises(Refused, match=r"target.parameters: model.stepz: is not a key of the configuration"):
        _plan("target=argo", "target.parameters=[model.stepz]")
    with pytest.raises(Refused, match=r"target.parameters: dataset.pith: is not a key of the configuration"):
        _plan("target=argo", "target.parameters=[dataset.pith]")


def test_a_graph_takes_no_parameter_that_only_another_dataset_has() -> None:
    keys = "target.parameters=[dataset.cutoff_year,dataset.coin,dataset.path]"
    found = {name: [each.key for each in _plan("target=argo", f"dataset={name}", keys).parameters]
             for name in ("indices", "bitcoin")}  # fmt: skip
    assert found == {
        "indices": ["dataset.cutoff_year", "dataset.path"],
        "bitcoin": ["dataset.coin", "dataset.path"],
    }


@pytest.mark.parametrize(
    "text", ["model=flat", "model=", "dataset.path=s3://b/k_1.csv", "gate.threshold=-0.5", "seed=null"]
)
def test_a_plain_parameter_is_left_as_it_is(text: str) -> None:
    check_plain(text)


MORE = (
    "'flat'",
    "$(id)",
    "1\n",
    "1\ngate=x",
    "${model.steps}",
    "flat,deep",
    "[1]",
    "{}",
    "a b",
    "`id`",
    "choice(a)",
    "1;2",
)


@pytest.mark.parametrize("value", [*MORE, "\\1", "a=b", "\u0661"])
def test_anything_more_is_refused(value: str) -> None:
    with pytest.raises(Refused, match="a submitted parameter may contain only letters, digits and"):
        check_plain(f"seed={value}")


def test_a_step_takes_plain_values_only_behind_the_word_that_says_so(tapeline: Tapeline) -> None:
    code, _, problem = tapeline(
        "step", "ingest", "dataset.as_of='17:00 Europe/London'", SUBMITTED, "seed=${model.steps}"
    )
    assert code == 2
    assert problem.startswith("tapeline: seed=${model.steps}: a submitted parameter may contain only letters")
    arguments = _plan("target=argo", "model=flat").tasks[0].arguments
    assert (arguments[:2], arguments[-1]) == (("step", "ingest"), SUBMITTED)
    assert SUBMITTED not in next(task for task in _plan("target=argo").tasks if not task.parameters).arguments


@pytest.mark.parametrize("fused", [False, True])
def test_only_the_step_that_writes_the_store_has_its_key(fused: bool) -> None:
    typed = ["target=argo", "serving.store=s3://b/m", "target.store_secret=writes", "target.store_read_secret=reads"]
    tasks = _plan(*typed, fused=fused).tasks
    given = {task.name: {secret.name for secret in task.secrets} for task in tasks if task.secrets}
    assert given == ({"run": {"reads"}, "publish": {"writes"}} if fused else {"gate": {"reads"}, "publish": {"writes"}})


@pytest.mark.parametrize("fused", [False, True])
def test_each_pod_whose_result_can_be_shared_has_the_cache_and_its_keys(fused: bool) -> None:
    typed = ["target=argo", "target.cache=s3://b/c", "target.cache_secret=keys", "target.cache_trust=all"]
    for task in _plan(*typed, fused=fused).tasks:
        shares = any(step.world != "fresh" for step in task.steps)
        assert ("target.cache=s3://b/c" in task.overrides) == ("target.cache_trust=all" in task.overrides) == shares
        assert [(each.name, each.prefix) for each in task.secrets] == ([("keys", "TAPELINE_CACHE_")] if shares else [])


def test_a_cache_on_a_claim_is_mounted_where_it_is_used() -> None:
    tasks = _plan("target=argo", "target.cache=/cache/prices", "target.cache_claim=shared").tasks
    mounted = {task.name for task in tasks if any(each.claim == "shared" for each in task.mounts)}
    assert mounted == {task.name for task in tasks if "target.cache=file:///cache/prices" in task.overrides}
    assert mounted == {"ingest", "features", "train", "export", "evaluate", "report"}


def test_a_cache_on_the_laptop_is_not_the_pods() -> None:
    assert not [word for task in _plan("target=argo").tasks for word in task.overrides if "target." in word]
