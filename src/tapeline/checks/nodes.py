"""Values of YAML documents with their paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from tapeline.errors import Finding


# not frozen: the checks make millions of these, and a frozen one takes three times as long
@dataclass(slots=True, eq=False)
class Node:
    """A value of a document with its path: "workflows/argo/x.yaml: spec.templates[train].container.image"."""

    value: Any
    file: str
    keys: tuple[str, ...] = ()
    """From the document to it; an item of a list is "[name]", or "[0]"."""

    @property
    def path(self) -> str:
        """The path as text."""
        return ".".join(self.keys).replace(".[", "[")

    @property
    def where(self) -> str:
        """File and path, as findings name them."""
        return f"{self.file}: {self.path}" if self.path else self.file

    def at(self, *keys: str) -> Node:
        """The value below these keys; None where there is none."""
        node = self
        for key in keys:
            inner = node.value.get(key) if isinstance(node.value, dict) else None
            node = Node(inner, node.file, (*node.keys, key))
        return node

    def each(self) -> Iterator[Node]:
        """The values of a mapping, or of a list by the names of its items."""
        if isinstance(self.value, dict):
            yield from (self.at(str(key)) for key in self.value)
        for number, item in enumerate(self.value if isinstance(self.value, list) else ()):
            named = item.get("name") if isinstance(item, dict) else None
            yield Node(item, self.file, (*self.keys, f"[{number if named is None else named}]"))

    def walk(self) -> tuple[Node, ...]:
        """Itself and all that lies below."""
        return _walked(self)

    def names(self) -> list[str]:
        """The names of a list's items."""
        return [str(item.at("name").value) for item in self.each() if item.at("name").value is not None]

    @property
    def key(self) -> str:
        """The last key of its path."""
        return self.keys[-1] if self.keys else ""

    @property
    def text(self) -> str:
        """The value of a string; empty for other types."""
        return self.value if isinstance(self.value, str) else ""

    @property
    def mapping(self) -> dict[str, Any]:
        """The value of a mapping; empty for other types, which fields.py reports."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def sequence(self) -> list[Any]:
        """The value of a list; empty for other types, which fields.py reports."""
        return self.value if isinstance(self.value, list) else []

    def wrong(self, problem: str, fix: str) -> Finding:
        """A finding about this value."""
        return Finding(self.where, problem, fix)


def includes(labels: Mapping[str, Any], selector: Mapping[str, Any]) -> bool:
    """Whether the labels have all that the selector asks for."""
    return all(key in labels and labels[key] == value for key, value in selector.items())


@lru_cache(maxsize=512)
def _walked(node: Node) -> tuple[Node, ...]:
    """Cached, since many rules walk the same document."""
    found = [node]
    for each in found:
        found += each.each()
    return tuple(found)


@cache
def _loader() -> Any:
    """PyYAML's loader, but a key that stands twice in a mapping is an error: the second one would win in silence."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                    problem = f"the key {key.value} occurs twice in a mapping"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value if isinstance(key.value, str) else id(key))
            return super().construct_mapping(node, deep)

    return Loader


@lru_cache(maxsize=8)
def read(text: str, file: str) -> list[Node] | Finding:
    """The documents of a YAML text, or a finding about it. Cached, since two callers read an emitted file."""
    import yaml

    loader = _loader()
    try:
        documents = [each for each in yaml.load_all(text, loader) if each is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        return Finding(
            f"{file}{line}", f"is not valid YAML: {getattr(error, 'problem', error)}", "correct it, or build it again"
        )
    strange = [each for each in documents if not isinstance(each, dict)]
    if strange:
        return Finding(file, f"contains {type(strange[0]).__name__} where an object must be", "correct it")
    return [Node(each, file) for each in documents]
