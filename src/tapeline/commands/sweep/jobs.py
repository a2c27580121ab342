"""The jobs of a sweep, before one runs: Hydra's basic sweeper expands them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tapeline.config import compose as conf
from tapeline.config.overrides import parse
from tapeline.errors import Finding, Refused, refuse


def target(overrides: Sequence[str]) -> str:
    """Where the jobs run: the option of the group target.

    Raises:
        Refused: there are several.
    """
    given = [each for each in parse(overrides) if each.key == "target"]
    if any(each.sweep for each in given):
        raise refuse(given[-1].text, "all jobs of a sweep run in one place", "write one, for example target=argo")
    return str(given[-1].value) if given else "local"


def expanded(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each job, without Hydra's own keys.

    Raises:
        Refused: Hydra cannot read them.
    """
    from hydra import initialize_config_dir
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    ours = [each.text for each in parse(overrides) if not each.key.startswith(("hydra.", "hydra/"))]
    try:
        with initialize_config_dir(str(conf.folder()), version_base="1.3"):  # glob(...) asks it for the options
            parser = OverridesParser.create(GlobalHydra.instance().config_loader())
            batches = BasicSweeper.split_arguments(parser.parse_overrides(ours), None)
    except HydraException as error:
        sentence = " ".join(str(error).split("\n")[0].split())
        raise refuse(" ".join(ours), sentence, "correct the override") from None
    return [list(job) for batch in batches for job in batch]


def once(refusals: Iterable[Refused]) -> Refused:
    """The findings of all jobs as one refusal, each mistake once."""
    findings = dict[tuple[str, str], Finding]()
    for each in (finding for refused in refusals for finding in refused.findings):
        findings.setdefault((each.problem, each.fix), each)
    return Refused(*findings.values())
