"""Stores of models: tapeline store init [STORE]        tapeline store sync URL DIR follow=true seconds=10"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tapeline.commands import Option
from tapeline.errors import refuse

GROUP = "serve"
HELP = "create an empty store, or mirror a store in object storage to a folder"
WORDS = "init [STORE] | sync URL DIR"
OPTIONS = (
    Option("follow", "true|false", "sync: repeat until SIGTERM or Ctrl-C", "false"),
    Option("seconds", "N", "sync: seconds between two checks of the store", "10"),
)
READS = ("dataset", "experiment", "serving", "target")
EXAMPLES = (
    ("tapeline store init s3://models/store", "makes an empty store in a bucket"),
    ("tapeline store sync s3://models/store models follow=true seconds=10", "mirrors a store in the folder models"),
)
SECONDS = 10
"""Seconds to wait for a lock, and between two checks of a store."""


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Run the action that the first argument names.

    Raises:
        Refused: the words are not those of init or sync, or what they name is refused.
    """
    words = [word for word in overrides if "=" not in word.partition("://")[0] and not word.startswith("~")]
    keys = [word for word in overrides if word not in words]
    if words[:1] == ["init"] and len(words) <= 2:
        if options:
            raise refuse(next(iter(options)), "is not an option of store init", "remove it")
        _init(words[1:], keys)
    elif words[:1] == ["sync"] and len(words) == 3:
        if keys:
            raise refuse(keys[0], "is not an option of store sync", "its options are follow=true and seconds=10")
        _sync(words[1], Path(words[2]), options)
    else:
        said = " ".join(["store", *words])
        raise refuse(said, "is not an action", "write store init [STORE], or store sync URL DIR")


def _init(stores: Sequence[str], overrides: Sequence[str]) -> None:
    from tapeline.lookup import configure
    from tapeline.serving.store import state

    if stores and overrides:
        raise refuse(overrides[0], "has no effect if the store is given", "remove it")
    serving = None if stores else configure(overrides).serving
    store = serving.store if serving else stores[0]
    made = state.init(store, serving.lock_seconds if serving else SECONDS)
    print(f"{store}: " + ("created; it has no versions yet" if made else "is a store already; nothing was written"))


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
