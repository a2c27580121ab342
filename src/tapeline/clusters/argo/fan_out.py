"""Several pods of one template as a task: a graph of its own around them, which passes on what the task takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapeline.clusters.plan import Task

if TYPE_CHECKING:
    from hera.workflows import models as m

PARTITION = "partition"
"""The parameter of a pod that makes one partition: its id."""


def workers(task: Task, name: str, pod: str) -> m.Template:
    """The workers beside the first one, of the template `pod`: each may die, since the others do its work.

    A graph of its own, since Argo allows no `continueOn` beside `depends`.
    """
    from hera.workflows import models as m

    number = m.Sequence(count=m.IntOrString(root=str(task.workers - 1)))
    either = m.ContinueOn(failed=True, error=True)
    node = _node(task, name="worker", template=pod, with_sequence=number, continue_on=either)
    return m.Template(name=name, inputs=_inputs(task), dag=m.DAGTemplate(tasks=[node]))


def partitions(task: Task, ids: str, pod: str, parallelism: int) -> m.Template:
    """A pod of the template `pod` for each id in the list that an earlier task says.

    A graph of its own, since only a template can limit how many of its pods there are at the same time.
    """
    from hera.workflows import models as m

    node = _node(task, PARTITION, name=PARTITION, template=pod, with_param=f"{{{{inputs.parameters.{ids}}}}}")
    dag = m.DAGTemplate(tasks=[node])
    return m.Template(name=task.name, inputs=_inputs(task, ids), dag=dag, parallelism=parallelism)


def _inputs(task: Task, *more: str) -> m.Inputs:
    """What the task takes, and these parameters."""
    from hera.workflows import models as m

    parameters = [m.Parameter(name=name) for name in (*(each.name for each in task.parameters), *more)]
    artifacts = [m.Artifact(name=name, optional=name in task.optional or None) for name in task.takes]
    return m.Inputs(parameters=parameters or None, artifacts=artifacts or None)


def _node(task: Task, *items: str, **loop: Any) -> m.DAGTask:
    """The node for all pods, which get what the graph got, and these parameters with the item of the loop."""
    from hera.workflows import models as m

    values = {each.name: f"{{{{inputs.parameters.{each.name}}}}}" for each in task.parameters}
    values |= dict.fromkeys(items, "{{item}}")
    artifacts = [
        m.Artifact(name=name, from_=f"{{{{inputs.artifacts.{name}}}}}", optional=name in task.optional or None)
        for name in task.takes
    ]
    parameters = [m.Parameter(name=name, value=value) for name, value in values.items()]
    return m.DAGTask(arguments=m.Arguments(parameters=parameters or None, artifacts=artifacts or None), **loop)
