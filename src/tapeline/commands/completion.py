"""A script for bash and zsh that completes commands, groups, options and keys: eval "$(tapeline completion)"

The script holds all names, so that a key press starts no Python.
"""

from __future__ import annotations

from tapeline.commands import Option

GROUP = "maintenance"
HELP = "print a script for bash or zsh that completes commands, options and keys, also behind make"
OPTIONS = (Option("shell", "bash|zsh", "which one", "bash"),)
READS = ()
EXAMPLES = (
    ("tapeline completion", 'prints the script; eval "$(.venv/bin/tapeline completion)" turns it on in this shell'),
    ("tapeline completion shell=zsh", "does so for zsh"),
)
SCRIPT = """\
_tapeline() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" line="${{COMP_LINE:0:COMP_POINT}}"
  word="${{line##* }}"
  local words="{keys}"
  if [[ "$line" != *" "*" "* ]]; then words="{commands}"; fi
  case "$line" in
{options}
  esac
  case "$word" in
{values}
  esac
  COMPREPLY=( $(compgen -W "$words" -- "$word") )
  if [[ "$word" == *=* && "$COMP_WORDBREAKS" == *=* ]]; then COMPREPLY=( "${{COMPREPLY[@]#*=}}" ); fi
  if [[ ${{#COMPREPLY[@]}} == 1 && "${{COMPREPLY[0]}}" == *= ]]; then compopt -o nospace 2>/dev/null; fi
}}
complete -F _tapeline tapeline .venv/bin/tapeline make
"""


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Print the script."""
    from tapeline.commands.config import keys

    script = SCRIPT.format(
        commands=" ".join(_names()),
        keys=" ".join(_keys()),
        options="\n".join(_options()),
        values="\n".join(
            f'    {group}=*) words="{" ".join(f"{group}={choice.name}" for choice in keys.choices(group))}" ;;'
            for group in keys.groups()
        ),
    )
    if options.get("shell") == "zsh":
        print("autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit")
    print(script, end="")


def _names() -> list[str]:
    from tapeline import files

    return [name.replace("_", "-") for name in files.modules("tapeline.commands")]


def _keys() -> list[str]:
    """Groups and their keys, each with = behind it."""
    from tapeline.commands.config import keys

    found = ["seed=", *(f"{group}=" for group in keys.groups())]
    for group in keys.groups():
        for choice in keys.choices(group):
            found += [f"{keys.full(group, key)}=" for key in choice.keys if group not in ("experiment", "debug")]
    return list(dict.fromkeys(found))


def _options() -> list[str]:
    """A line of the script for each command that has options of its own."""
    from importlib import import_module

    lines = []
    for name in _names():
        module = import_module(f"tapeline.commands.{name.replace('-', '_')}")
        own = [f"{option.name}=" for option in module.OPTIONS if not option.is_word]
        if own:
            lines.append(f'    *" {name} "*) words="$words {" ".join(own)}" ;;')
    return lines
