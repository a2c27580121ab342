"""The store itself.

tapeline store init [STORE]    tapeline store base_path=/models    tapeline store sync URL DIR follow=true seconds=10
tapeline store wait STORE
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tapeline.commands import Option
from tapeline.errors import refuse

GROUP = "serve"
HELP = "make an empty store, say where servers see it, mirror one of object storage, or wait for its first model"
WORDS = "[init [STORE] | sync URL DIR | wait STORE]"
OPTIONS = (
    Option("base_path", "PATH", "write this path of the store, as servers see it, into models.config"),
    Option("follow", "true|false", "sync: repeat until SIGTERM or Ctrl-C", "false"),
    Option("seconds", "N", "sync: seconds between two checks of the store", "10"),
)
READS = ("experiment", "serving.lock_seconds", "serving.store", "target.name")
EXAMPLES = (
    ("tapeline store init s3://models/store", "makes an empty store in a bucket"),
    ("tapeline store base_path=/models", "lets servers read the store ./store at /models, where they see it"),
    ("tapeline store sync s3://models/store models follow=true seconds=10", "mirrors a store in the folder models"),
    ("tapeline store wait /models", "ends when a model is published; a server's pod begins with it"),
)
SECONDS = 10
"""Seconds to wait for a lock, and between two checks of a store."""


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Run the action that the first argument names.

    Raises:
        Refused: the words are not those of init, sync or wait, or what they name is refused.
    """
    words = [word for word in overrides if "=" not in word.partition("://")[0] and not word.startswith("~")]
    keys = [word for word in overrides if word not in words]
    if "base_path" in options and not words:
        if other := [name for name in options if name != "base_path"]:
            raise refuse(other[0], "is not an option of store base_path", "leave it out")
        _move(options["base_path"], keys)
    elif words[:1] == ["init"] and len(words) <= 2:
        if options:
            raise refuse(next(iter(options)), "is not an option of store init", "remove it")
        _init(words[1:], keys)
    elif words[:1] == ["sync"] and len(words) == 3:
        if keys:
            raise refuse(keys[0], "is not an option of store sync", "its options are follow=true and seconds=10")
        _sync(words[1], Path(words[2]), options)
    elif words[:1] == ["wait"] and len(words) == 2:
        if unread := [*keys, *options]:
            raise refuse(unread[0], "is not an option of store wait", "remove it")
        _wait(words[1])
    else:
        said = " ".join(["store", *words])
        fix = "write store init [STORE], store base_path=PATH, store sync URL DIR, or store wait STORE"
        raise refuse(said, "is not an action", fix)


def _init(stores: Sequence[str], overrides: Sequence[str]) -> None:
    from tapeline.lookup import configure
    from tapeline.serving.store import state

    if stores and overrides:
        raise refuse(overrides[0], "has no effect if the store is given", "remove it")
    serving = None if stores else configure(overrides).serving
    store = serving.store if serving else stores[0]
    made = state.init(store, serving.lock_seconds if serving else SECONDS)
    print(f"{store}: " + ("created; it has no versions yet" if made else "is a store already; nothing was written"))


def _move(base: str, overrides: Sequence[str]) -> None:
    from tapeline.lookup import configure
    from tapeline.serving.store import state

    serving = configure(overrides).serving
    path = base.rstrip("/")
    if not path.startswith("/") or not path.isprintable():
        fix = "write the path that servers see, as in base_path=/models"
        raise refuse(f"base_path={base}", "is not an absolute path", fix)
    before = state.move(serving.store, path, serving.lock_seconds)
    print(
        f"{serving.store}: " + (f"base_path is {path}, before {before}" if before else f"base_path is {path} already")
    )


def _sync(url: str, folder: Path, options: Mapping[str, str]) -> None:
    from tapeline.console import logged
    from tapeline.serving.store import sync

    given = options.get("seconds", str(SECONDS))
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0
    if not 0.1 <= seconds <= 86400:
        raise refuse(f"seconds={given}", "is not a number of seconds from 0.1 to 86400", "write seconds=10")
    with logged():
        if options.get("follow") == "true":
            sync.follow(url, folder, seconds)
        elif not sync.once(url, folder):
            print(f"{folder} is up to date")


def _wait(store: str) -> None:
    from tapeline.console import logged
    from tapeline.serving.store import sync

    with logged():
        sync.wait(store, SECONDS / 5)
