"""A task with a pod for each partition: withParam over the ids that an earlier task says.

All pods write into one folder of the artifact repository: a prefix of keys, which later tasks take as one artifact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapeline.clusters.plan import Task

if TYPE_CHECKING:
    from hera.workflows import models as m

ONE = "partition"
"""The parameter of such a pod: its id."""


def pod(task: Task) -> str:
    """The name of the template of each pod."""
    return f"{task.name}-each"


def fan_out(task: Task, parallelism: int) -> m.Template:
    """The task as a graph of its pods.

    A graph of its own, since only a template can limit how many of its pods there are at the same time.
    """
    from hera.workflows import models as m

    given = [m.Parameter(name=each.name, value=f"{{{{inputs.parameters.{each.name}}}}}") for each in task.parameters]
    each = m.DAGTask(
        name=ONE,
        template=pod(task),
        arguments=m.Arguments(
            parameters=[*given, m.Parameter(name=ONE, value="{{item}}")],
            artifacts=[m.Artifact(name=name, from_=f"{{{{inputs.artifacts.{name}}}}}") for name in task.takes] or None,
        ),
        with_param=f"{{{{inputs.parameters.{task.ids}}}}}",
    )
    return m.Template(
        name=task.name,
        inputs=m.Inputs(
            parameters=[m.Parameter(name=name) for name in (*(each.name for each in task.parameters), str(task.ids))],
            artifacts=[m.Artifact(name=name) for name in task.takes] or None,
        ),
        dag=m.DAGTemplate(tasks=[each]),
        parallelism=parallelism,
    )
