"""A study: its trials as records, and what Optuna makes of them. Nothing here keeps a state.

Each proposal comes from a sampler with a seed of its own, over a study that is rebuilt in memory from finished trials.
So it depends on these trials and the seed alone, whatever ran when.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from tapeline import files
from tapeline.config.schema import Model
from tapeline.config.search import Tune
from tapeline.tasks import Metric
from tapeline.tuning import space
from tapeline.tuning.space import Values

if TYPE_CHECKING:
    import optuna

State = Literal["complete", "pruned", "failed"]
NAME = "study"
"""Optuna's Hyperband shares trials out by this name and their numbers."""


@dataclass(frozen=True)
class Proposal:
    """The values that a trial tries."""

    number: int
    """From 0."""
    drawn: Values
    """By key, in the scale of the distribution."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """That Optuna's sampler keeps with a trial."""


@dataclass(frozen=True)
class Trial:
    """A finished trial."""

    proposal: Proposal
    params: Values
    """By key of the configuration."""
    state: State
    value: float | None
    """The metric on the validation rows after training; None unless complete."""
    steps: int | None
    """Training steps that the model has, after early stopping."""
    trace: tuple[tuple[int, float], ...]
    """Steps and the metric on the validation rows."""
    problem: str | None = None
    """Why it failed."""

    @property
    def number(self) -> int:
        """From 0."""
        return self.proposal.number

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def read(record: Mapping[str, Any]) -> Trial:
    """The trial that `Trial.record` wrote.

    Raises:
        KeyError, TypeError: it is none.
    """
    trace = tuple((int(step), float(value)) for step, value in record["trace"])
    return Trial(**{**record, "proposal": Proposal(**record["proposal"]), "trace": trace})


def in_order(trials: Mapping[int, Trial]) -> list[Trial]:
    """By number."""
    return [trials[number] for number in sorted(trials)]


@dataclass(frozen=True)
class Study:
    """What is searched, and how."""

    tune: Tune
    model: Model
    metric: Metric

    @cached_property
    def distributions(self) -> dict[str, Any]:
        """Of each key."""
        return space.distributions(self.tune.space, self.model)

    def params(self, proposal: Proposal) -> Values:
        """Values for the keys of the configuration."""
        return space.values(self.tune.space, proposal.drawn)

    def best(self, trials: Sequence[Trial]) -> Trial | None:
        """The complete trial with the best value, the first of equals; None where none is complete."""
        known = [each for each in trials if each.state == "complete" and each.value is not None]
        return max(known, key=lambda each: (self.metric.sign * (each.value or 0.0), -each.number), default=None)


@contextmanager
def _silent() -> Iterator[None]:
    """Without Optuna's log lines and its warnings about experimental options."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)


def propose(
    study: Study, finished: Sequence[Trial], running: Sequence[Proposal], seed: int, count: int
) -> list[Proposal]:
    """The next proposals, numbered behind all known trials.

    Args:
        study: what is searched.
        finished: trials with results.
        running: trials without; their numbers and those of `finished` are 0, 1, 2, ... together.
        seed: of this call; `tune.seed` enters, too.
        count: how many; the first ones do not depend on it.
    """
    with _silent():
        own = int(files.digest(study.tune.seed, seed)[:8], 16)
        made = _rebuilt(study, finished, running, _sampler(study, own))
        distributions = study.distributions
        for _ in range(count):
            made.ask(fixed_distributions=distributions)
        asked = made.get_trials(deepcopy=False)[len(finished) + len(running) :]
        return [Proposal(each.number, dict(each.params), dict(each.system_attrs)) for each in asked]


def _rebuilt(study: Study, finished: Sequence[Trial], running: Sequence[Proposal], sampler: Any) -> optuna.Study:
    import optuna

    direction: Literal["maximize", "minimize"] = "maximize" if study.metric.sign > 0 else "minimize"
    pruner = _pruner(study)
    made = optuna.create_study(study_name=NAME, direction=direction, sampler=sampler, pruner=pruner)
    known: dict[int, Any] = {each.number: _frozen(study, each.proposal, each) for each in finished}
    known |= {each.number: _frozen(study, each, None) for each in running}
    made.add_trials([known[number] for number in sorted(known)])
    return made


def _frozen(study: Study, proposal: Proposal, trial: Trial | None) -> optuna.trial.FrozenTrial:
    from optuna.trial import TrialState, create_trial

    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    return create_trial(
        state=states[trial.state] if trial else TrialState.RUNNING,
        value=trial.value if trial else None,
        params=proposal.drawn,
        distributions=study.distributions,
        system_attrs=proposal.attributes,
        intermediate_values=dict(trial.trace) if trial else {},
    )


def _sampler(study: Study, seed: int) -> optuna.samplers.BaseSampler:
    from optuna import samplers

    tune = study.tune
    if tune.sampler == "random":
        return samplers.RandomSampler(seed=seed)
    if tune.sampler == "grid":
        # one seed for all calls: it orders the points, and trials remember their places in this order
        return samplers.GridSampler(space.grid(tune.space, study.distributions), seed=tune.seed)
    if tune.sampler == "cmaes":
        return samplers.CmaEsSampler(n_startup_trials=tune.startup, seed=seed)
    return samplers.TPESampler(n_startup_trials=tune.startup, seed=seed, constant_liar=True)


def _pruner(study: Study) -> optuna.pruners.BasePruner:
    from optuna import pruners

    if study.tune.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=study.tune.startup)
    if study.tune.pruner == "hyperband":
        return pruners.HyperbandPruner(min_resource=study.model.report_every, max_resource=study.model.steps)
    return pruners.NopPruner()


class Pruning:
    """Whether a trial should stop, by the finished trials that it was proposed after."""

    def __init__(
        self, study: Study, finished: Sequence[Trial], running: Sequence[Proposal], proposal: Proposal
    ) -> None:
        import optuna

        with _silent():
            sampler = optuna.samplers.RandomSampler(seed=0)
            made = _rebuilt(study, finished, [*running, proposal], sampler)
            self._frozen = made.get_trials(deepcopy=False)[proposal.number]
            self._trial = optuna.trial.Trial(made, self._frozen._trial_id)

    def stops(self, step: int, value: float) -> bool:
        """Report the metric at a step; whether the trial should stop there."""
        with _silent():
            self._trial.report(value, step)
            return bool(self._trial.should_prune())

    def attributes(self) -> dict[str, Any]:
        """What Optuna keeps with the trial, with that of its pruner."""
        return dict(self._trial.storage.get_trial(self._frozen._trial_id).system_attrs)


def importances(study: Study, trials: Sequence[Trial]) -> dict[str, float]:
    """The share of each key in the spread of the values (fANOVA), the largest first; empty where that says nothing.

    Source: Hutter, Hoos, Leyton-Brown, An Efficient Approach for Assessing Hyperparameter Importance, ICML 2014.
    """
    import optuna

    known = [each for each in trials if each.state == "complete"]
    if len({each.value for each in known}) < 2:
        return {}
    with _silent():
        made = optuna.create_study(study_name=NAME)
        made.add_trials([_frozen(study, each.proposal, each) for each in known])
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        shares = optuna.importance.get_param_importances(made, evaluator=evaluator)
    # rounded, since the last digits may depend on the processor
    return {key: round(float(share), 6) for key, share in shares.items()}
