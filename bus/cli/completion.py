"""`bus completion bash|zsh|fish`: a script for the shell, made of the parsers themselves.

source <(bus completion bash)        source <(bus completion zsh)        bus completion fish | source
"""

from __future__ import annotations

import argparse
import importlib
from typing import cast

from bus.cli import COMMANDS, Command, output


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = "Print a completion script: source <(bus completion bash)"
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    output.configure(parser)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Print it."""
    words = {name: _words(name) for name in COMMANDS}
    out = output.Output(arguments)
    if out.is_json:
        out.json(words)
    elif arguments.shell == "fish":
        out.line(_fish(words))
    else:
        out.line(_bash(words) if arguments.shell == "bash" else f"{_ZSH}\n{_bash(words)}")
    return 0


def _words(name: str) -> list[str]:
    """Options, choices and actions of one command."""
    module = importlib.import_module(COMMANDS[name][0])
    if hasattr(module, "main"):
        from bus.bench.__main__ import parser as bench

        parser: argparse.ArgumentParser = bench()
    else:
        parser = argparse.ArgumentParser(prog=f"bus {name}")
        cast("Command", module).configure(parser)
    return sorted(_of(parser))


def _of(parser: argparse.ArgumentParser) -> set[str]:
    found: set[str] = set()
    # argparse has no other door.
    for action in parser._actions:  # pyright: ignore[reportPrivateUsage]
        found.update(option for option in action.option_strings if option.startswith("--"))
        if action.choices is not None and not action.option_strings:
            found.update(str(one) for one in action.choices)
        choices: object = action.choices
        if isinstance(choices, dict):
            for inner in cast("dict[str, argparse.ArgumentParser]", choices).values():
                found |= _of(inner)
    if any(action.metavar == "Coordinator" for action in parser._actions):  # pyright: ignore[reportPrivateUsage]
        found.add("Coordinator")
    return found


_ZSH = "autoload -U +X bashcompinit && bashcompinit"


def _bash(words: dict[str, list[str]]) -> str:
    lines = ["_bus() {", '    local word="${COMP_WORDS[COMP_CWORD]}" words=""']
    lines.append(f'    if [ "$COMP_CWORD" -eq 1 ]; then words="{" ".join(words)} --help --version"; else')
    lines.append('    case "${COMP_WORDS[1]}" in')
    lines += [f'        {name}) words="{" ".join(one)}" ;;' for name, one in words.items()]
    lines += ["    esac; fi", '    COMPREPLY=($(compgen -W "$words" -- "$word"))', "}"]
    return "\n".join([*lines, "complete -o default -F _bus bus"])


def _fish(words: dict[str, list[str]]) -> str:
    lines = [f"complete -c bus -n __fish_use_subcommand -a {name} -d '{COMMANDS[name][1]}'" for name in words]
    for name, ones in words.items():
        for one in ones:
            how = f"-l {one[2:]}" if one.startswith("--") else f"-a {one}"
            lines.append(f"complete -c bus -n '__fish_seen_subcommand_from {name}' {how}")
    return "\n".join(lines)
