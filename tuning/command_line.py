"""Read the command line of a search: its options, their help, and the configuration they give.

`-h` explains the options that most searches need, `-h all` every field, `-h SECTION` one section.
Explanations are the docstrings of the fields; those of shipped configurations are the first line of
their files.
"""

import argparse
import shlex
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from results.run import Run
from training.cli import OptionParser
from training.config import ModelConfig
from training.errors import InputError
from training.options import FieldHelp, Values, add_fields, explanation, given_fields, merge
from tuning.config import SECTIONS, Configuration
from tuning.start import (
    build,
    find_run,
    read_chosen,
    resolve,
    shipped_file,
    shipped_names,
    to_plain,
)

SHORT = {
    "data": ("data", "path"),
    "model": ("model", "name"),
    "name": ("output", "name"),
    "trials": ("search", "trials"),
    "address": ("cluster", "address"),
}
"""Short options of fields."""

COMMON: dict[str, dict[str, str | None]] = {
    "what to search": {
        "data": "FILE",
        "data.text_column": "NAME",
        "data.label_column": "NAME",
        "model": "ID|DIR",
    },
    "how long, and where": {
        "config": "FILE|NAME",
        "trials": "N",
        "search.time_budget_s": "SECONDS",
        "address": "ADDRESS",
    },
    "the run": {"name": "NAME", "dry-run": None, "resume": "URI"},
}
"""Options that `-h` explains, by the titles of their groups, with the names of their values."""

ALL = "all"

_EXAMPLE = """
Example:
  python -m tuning.search --data feedback.csv --model distilbert-base-uncased
"""

_ACTIONS: dict[str, dict[str, Any]] = {
    "config": {
        "metavar": "FILE|NAME",
        "help": "YAML file with any part of the fields, or the name of a shipped configuration",
    },
    "resume": {
        "nargs": "?",
        "const": "",
        "metavar": "URI",
        "help": "resume a run: the one of --name, or else the newest unfinished one; with a URI the"
        " run that was mirrored there, which is copied to output.directory first",
    },
    "dry-run": {
        "action": "store_true",
        "help": "check data, model and cluster, print the plan with its duration and the score of"
        " TF-IDF, and start nothing",
    },
    "print-config": {
        "action": "store_true",
        "help": "print the whole configuration as YAML for --config, and exit",
    },
}
"""Options that are not fields, as arguments of `add_argument`."""


class _Help(argparse.Action):
    """Prints the help of its value, a section or `all`; without one, that of common options."""

    def __call__(
        self, parser: argparse.ArgumentParser, _namespace: object, topic: object, _: object = None
    ) -> None:
        print(help_text(topic if isinstance(topic, str) else None), end="")
        parser.exit()


def make_parser() -> OptionParser:
    """Return the parser of all options of `python -m tuning.search`."""
    parser = _bare_parser("[--OPTION VALUE ...]")
    parser.add_argument(
        *("-h", "--help"),
        action=_Help,
        nargs="?",
        choices=[ALL, *SECTIONS],
        metavar="SECTION",
        help="explain the common options, those of a section, or `all`",
    )
    what = parser.add_argument_group(
        "what to search", "An option takes precedence over the file of --config."
    )
    what.add_argument("--config", **_ACTIONS["config"])
    for option, (section, field) in SHORT.items():
        what.add_argument(f"--{option}", metavar="VALUE", help=f"the same as --{section}.{field}")
    how = parser.add_argument_group(
        "what to do", "Without one of these the command starts a new search."
    )
    for option in ("resume", "dry-run", "print-config"):
        how.add_argument(f"--{option}", **_ACTIONS[option])
    add_fields(parser, SECTIONS, _bases())
    return parser


def _bare_parser(usage: str) -> OptionParser:
    return OptionParser(
        prog="python -m tuning.search",
        usage=f"%(prog)s {usage}",
        description="Search the hyperparameters of a fine-tuned text classifier with Ray Tune."
        " Without options the command searches the bundled sample.",
        formatter_class=FieldHelp,
        add_help=False,
    )


def _bases() -> dict[str, Values]:
    """Return the values of both bases."""
    sample = to_plain(build({}))
    encoder = to_plain(build({"model": {"name": ModelConfig().name}, "data": {"path": ""}}))
    del encoder["data"]["path"]
    return {"sample": sample, "encoder": encoder}


def help_text(topic: str | None) -> str:
    """Return the help of a section, of `all` options, or, for None, of the common ones."""
    if topic is None:
        return _common_help()
    if topic == ALL:
        return make_parser().format_help() + _configurations() + _notes()
    parser = _bare_parser("[--OPTION VALUE ...]")
    add_fields(parser, {topic: SECTIONS[topic]}, _bases())
    return parser.format_help()


def _common_help() -> str:
    parser = _bare_parser("[--data FILE] [--model ID|DIR] ...")
    for title, options in COMMON.items():
        group = parser.add_argument_group(title)
        for option, metavar in options.items():
            group.add_argument(f"--{option}", **_common_arguments(option, metavar))
    rest = _paragraph(
        f"Every other option: -h all, or -h SECTION ({', '.join(SECTIONS)})."
        " --print-config prints the value of every field."
    )
    return parser.format_help() + _configurations() + rest + _EXAMPLE


def _common_arguments(option: str, metavar: str | None) -> dict[str, Any]:
    if option in _ACTIONS:
        return _ACTIONS[option]
    section, field = SHORT.get(option) or option.split(".")
    text = explanation(SECTIONS[section].model_fields[field])
    return {"metavar": metavar, "help": text.replace("%", "%%")}


def _configurations() -> str:
    """Return the list of shipped configurations, each with the first line of its file."""
    lines = [
        *("", "configurations, for --config:"),
        *_indented("Without one: `sample` for the model `tiny`, the default, else `encoder`.", 2),
        "",
    ]
    longest = max(map(len, shipped_names()))
    for name in shipped_names():
        summary = shipped_file(name).read_text("utf-8").partition("\n")[0].removeprefix("# ")
        lines += _indented(f"{name:{longest}}  {summary}", longest + 4)
    return "\n".join([*lines, ""])


def _indented(text: str, later: int) -> list[str]:
    """Return lines of at most the terminal's width; those after the first start at `later`."""
    return textwrap.wrap(text, width=_width(), initial_indent="  ", subsequent_indent=" " * later)


def _notes() -> str:
    return _paragraph(
        "Lists and mappings are YAML in one argument: --data.labels '[ok, bad]'. Fields that are"
        " not given have the values of the base `sample` where model.name is tiny, which is the"
        " default, and else those of the base `encoder`. Exit codes: 0 done, 1 the environment"
        " failed, 2 bad option, configuration or data, 4 the trials fail with the same error or"
        " none has a score, 130 or 143 interrupted (resume it by --resume)."
    )


def _paragraph(text: str) -> str:
    return "\n" + textwrap.fill(text, width=_width()) + "\n"


def _width() -> int:
    return shutil.get_terminal_size().columns - 2  # as argparse has it


def read_command(
    arguments: Sequence[str],
) -> tuple[argparse.Namespace, Run | None, Configuration]:
    """Return the options, the run to resume if there is one, and the configuration.

    Raises:
        InputError: one line for each unknown option and each problem of the configuration, and
            then also for those of the table and the model that it names.
        RunError: there is no run to resume.
    """
    parser = make_parser()
    problems: Sequence[str] = ()
    try:
        options = parser.parse(arguments)
    except InputError as error:
        problems = error.problems
        options = parser.parse_known_args(list(arguments))[0]
    try:
        given = merge(read_chosen(options.config), _given(options))
        run = find_run(given, options.resume) if options.resume is not None else None
    except InputError as error:
        raise InputError(*problems, *error.problems) from error
    return options, run, resolve(given, run, problems=problems)


def _given(options: argparse.Namespace) -> Values:
    values = given_fields(options, SECTIONS)
    for option, (section, field) in SHORT.items():
        value = getattr(options, option)
        if value is not None:
            values.setdefault(section, {}).setdefault(field, value)
    return values


def command_line(arguments: Sequence[str]) -> str:
    """Return the command, quoted for a shell, for the record."""
    return shlex.join(["python", "-m", "tuning.search", *arguments])
