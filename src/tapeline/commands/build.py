"""The graph as YAML for a cluster: tapeline build target=argo experiment=snp_deep hw=gpu"""

from __future__ import annotations

import sys

GROUP = "clusters"
HELP = "write the graph as YAML for a cluster: target=argo, target=kfp or target=tfjob"
OPTIONS = ()
EXAMPLES = (
    ("tapeline build target=argo experiment=snp_deep hw=gpu", "writes a WorkflowTemplate into workflows/argo"),
    ("tapeline build target=kfp model=flat target.folder=out", "writes a pipeline for KFP into the folder out"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Check the configuration and what is emitted for it, write the files, and print their paths."""
    from tapeline.checks import before_build, before_write, configured
    from tapeline.clusters import emit

    config = configured(overrides, before_build)
    texts = emit.emit(config, overrides)
    before_write(config, texts)
    print(*emit.write(config, texts), sep="\n")
    for sentence in emit.limits(config, overrides):
        print(f"tapeline: {sentence}", file=sys.stderr)
