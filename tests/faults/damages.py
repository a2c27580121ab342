"""Each file of a store lost, cut off or with other content, and files that are not the store's; then every command.

A command does its work, or it refuses. Where it has worked, what it serves now is what was published. A publish works
after all damages but those of models.config.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tapeline.errors import Refused
from tapeline.serving.store import location, operations, state, sync
from tests.faults import stores
from tests.faults.injection import prepare, publish, servables, serving
from tests.faults.stores import Content

CONFIG = "models.config"
DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "lost": lambda _: None,
    "empty": lambda _: b"",
    "half": lambda text: text[: len(text) // 2],
    "with another byte": lambda text: text[: len(text) // 2] + b"#" + text[len(text) // 2 + 1 :],
    "binary": lambda _: b"\xff\xfe\0",
    "other JSON": lambda _: b"[1]",
}
FOREIGN = {
    **dict.fromkeys(("m/²/saved_model.pb", "m/007/saved_model.pb", "m/9", "m/.DS_Store", ".DS_Store"), b"x"),
    **dict.fromkeys(("other/notes.txt", "m-canary/1/saved_model.pb", "m/11/saved_model.pb"), b"x"),
    "m/12.whole": b"{}",
    "m/13.whole": b"",
    "m/14.claim": b"x",
    "m/15.claim": b'{"time": 1}',
    "log.jsonl.1": b"\0",
}


def main(times: int, source: random.Random, folder: Path) -> Counter[str]:
    """Each damage of each file, in both stores; with fewer `times` of 100, some of them."""
    counted: Counter[str] = Counter()
    with stores.both(folder) as both:
        models = servables(folder / "models")
        for store in both:
            prepare(models, store)
            operations.canary(1, None, store, serving())
            right = stores.content(store)
            for what, damaged, path in _damaged(right):
                if source.randrange(100) >= times:
                    continue
                stores.fill(store, damaged)
                for wrong in _every_command(models, store, right, path, counted):
                    counted["wrong numbers"] += 1
                    print(f"  {store}: {what}: {wrong}")
    return counted


def _damaged(right: Content) -> Iterator[tuple[str, Content, str]]:
    """A sentence about the damage, what the store has then, and the path."""
    for path, text in right.items():
        for name, damage in DAMAGES.items():
            # another number or folder in models.config cannot be told from a right one
            if (found := damage(text)) != text and (path, name) != (CONFIG, "with another byte"):
                rest = {each: content for each, content in right.items() if each != path}
                yield f"{path} {name}", rest if found is None else {**rest, path: found}, path
    for path, text in FOREIGN.items():
        if path not in right:
            yield f"{path} added", {**right, path: text}, path


def _every_command(models: Path, store: Path | str, right: Content, path: str, counted: Counter[str]) -> Iterator[str]:
    """What is wrong after each command, all on one store, one after the other."""
    letters = {1: "a", 2: "b"}
    mirror = models.parent / "mirror"
    shutil.rmtree(mirror, ignore_errors=True)

    def published() -> None:
        letters[publish(models / "c", store).number] = "c"

    def canary() -> None:
        operations.canary(models / "d", models / "metrics.json", store, serving())
        letters[_pins(store)["m-canary"]] = "d"

    commands: dict[str, Callable[[], object]] = {
        "versions": lambda: list(operations.table(store, "m")),
        "sync": lambda: sync.once(str(store), mirror),
        "rollback": lambda: operations.rollback(store, serving()),
        "promote 2": lambda: operations.promote(2, store, serving()),
        "publish": published,
        "canary": canary,
        "promote": lambda: operations.promote(None, store, serving()),
        "rollback again": lambda: operations.rollback(store, serving()),
        "sync again": lambda: sync.once(str(store), mirror),
    }
    for name, command in commands.items():
        before = _pins(store)
        counted["runs"] += 1
        try:
            command()
            counted["results"] += 1
        except Refused as refusal:
            counted["refusals"] += 1
            if _pins(store) != before:
                yield f"{name} is refused, and models.config pins {_pins(store)} instead of {before}: {refusal}"
            if name == "publish" and path != CONFIG:
                yield f"{name} is refused: {refusal}"
            continue
        except Exception as error:
            counted["tracebacks"] += 1
            yield f"{name}: {error!r}"
            continue
        for entry, number in _pins(store).items() - before.items():
            if wrong := _differs(stores.content(store), number, letters[number], right):
                yield f"after {name}, {entry} is version {number}, with another {wrong}"
        if name.startswith("sync"):
            made = stores.content(mirror)
            for number in {int(each.split("/")[1]) for each in made if each.startswith("m/")}:
                if wrong := _differs(made, number, letters[number], right):
                    yield f"after {name}, version {number} of the mirror has another {wrong}"


def _pins(store: Path | str) -> dict[str, int]:
    """What models.config pins; nothing where it cannot be read."""
    try:
        return dict(state.load(location.backend(store)).pins)
    except Refused:
        return {}


def _differs(found: Content, number: int, letter: str, right: Content) -> str:
    """The first file of a version that is not as it was published; "" where there is none."""
    start = f"m/{number}/"
    own = "assets.extra/files.json"  # the store's, not published
    expected = {path: text for path, text in right.items() if path.startswith(start) and path != start + own}
    expected = expected or {f"{start}saved_model.pb": letter.encode() * 100}
    return next((path for path, text in expected.items() if found.get(path) != text), "")
