"""From the command line to a checked configuration and the directory of its run."""

import argparse
import os
import shlex
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from results.mirror import fetch_run
from results.run import Run, create_run, newest_unfinished, open_run
from training.cli import OptionParser, hide_secrets, is_uri, nearest
from training.config import SAMPLE, TINY, ModelConfig
from training.errors import InputError
from training.options import (
    FieldHelp,
    Values,
    add_fields,
    given_fields,
    merge,
    read_yaml,
    to_yaml,
    validate,
)
from tuning.config import SECTIONS, Configuration, OutputConfig, changed_fields, check
from tuning.space import to_plain_space

SHORT = {
    "data": ("data", "path"),
    "model": ("model", "name"),
    "name": ("output", "name"),
    "trials": ("search", "trials"),
    "address": ("cluster", "address"),
}
"""Options that stand for a field."""


def make_parser() -> OptionParser:
    """The options of `python -m tuning.search`."""
    parser = OptionParser(
        prog="python -m tuning.search",
        usage="%(prog)s [--OPTION VALUE ...]",
        description="Search hyperparameters of a fine-tuned text classifier with Ray Tune. With no"
        " option it runs the bundled sample.",
        epilog="Lists and mappings are YAML in one argument: --data.labels '[ok, bad]'. The base"
        " `sample` holds where model.name is tiny, which is the default, else the base `indobert`."
        " Exit codes: 0 done, 1 the environment failed, 2 bad option, configuration or data, 4 the"
        " trials fail alike or none has a score, 130 or 143 interrupted (--resume goes on).",
        formatter_class=FieldHelp,
    )
    what = parser.add_argument_group("what to search", "An option goes before the file.")
    what.add_argument(
        "--config",
        metavar="FILE|NAME",
        help="YAML file with any part of the fields below, or one of " + ", ".join(shipped_names()),
    )
    for option, (section, field) in SHORT.items():
        what.add_argument(f"--{option}", metavar="VALUE", help=f"the same as --{section}.{field}")
    how = parser.add_argument_group("what to do", "Without one of these: search.")
    how.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="URI",
        help="go on with a run: --name, or the newest unfinished, or one that was mirrored to a"
        " storage: it is fetched into output.directory",
    )
    how.add_argument(
        "--dry-run", action="store_true", help="check everything, print the plan, start nothing"
    )
    how.add_argument(
        "--print-config",
        action="store_true",
        help="print the whole configuration as YAML, which --config takes, and end",
    )
    add_fields(parser, SECTIONS, _bases())
    return parser


def _bases() -> dict[str, Values]:
    """Both bases, as far as they give values."""
    sample = to_plain(build({}))
    study = to_plain(build({"model": {"name": ModelConfig().name}, "data": {"path": ""}}))
    del study["data"]["path"]
    return {"sample": sample, "indobert": study}


def shipped_names() -> list[str]:
    """Names that `--config` takes beside files."""
    folder = files("tuning") / "configurations"
    return sorted(Path(entry.name).stem for entry in folder.iterdir())


def read_command(
    arguments: Sequence[str],
) -> tuple[argparse.Namespace, Run | None, Configuration]:
    """The options, the run to go on with, and the configuration.

    Raises:
        InputError: one line for each unknown option and each problem of the configuration.
        RunError: there is no run to go on with.
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
        configuration = resolve_resumed(run, given) if run else build(given)
    except InputError as error:
        raise InputError(*problems, *error.problems) from error
    if problems:
        raise InputError(*problems)
    return options, run, configuration


def resolve_resumed(run: Run, given: Values) -> Configuration:
    """The configuration of a run to go on with: what it began with, and what may be changed.

    Raises:
        InputError: as `build`, or a line for each field that must stay but was given anew.
    """
    values = read_yaml(run.config)
    old = build(values)
    new = build(merge(values, given))
    if problems := changed_fields(old, new):
        raise InputError(*problems)
    return new


def build(values: Values) -> Configuration:
    """Lay `values` over the shipped base they call for and check the whole.

    The base is `sample` when the model is `tiny` (the default), else `indobert`.

    Raises:
        InputError: one line for each unknown key, wrong type, value out of range or bad space.
    """
    model = values.get("model")
    name = model.get("name", TINY) if isinstance(model, dict) else TINY
    base = {"data": {}, **_shipped("sample" if name == TINY else "indobert")}
    configuration = validate(Configuration, merge(base, values), where="configuration")
    check(configuration)
    return _absolute(configuration)


def find_run(given: Values, uri: str) -> Run:
    """The run that `--resume` means: the named one, the newest unfinished, or one at a URI.

    Args:
        given: values of the configuration, of which `output` tells where runs are.
        uri: of the run; empty: it is in `output.directory`.

    Raises:
        InputError: the value is no URI.
        RunError: there is none.
        StorageError: the URI's storage cannot be reached.
    """
    place = validate(OutputConfig, given.get("output") or {}, where="output")
    directory, name = Path(place.directory), place.name
    if uri:
        return fetch_run(_checked_uri(uri, name), directory)
    return open_run(directory / name) if name else newest_unfinished(directory)


def _checked_uri(uri: str, name: str | None) -> str:
    if not is_uri(uri):
        raise InputError(
            f"--resume is {uri!r}, but must be a URI (STORAGE_PATH/NAME) or stand alone; for a run"
            f" in output.directory give --resume --name {shlex.quote(Path(uri).name)}"
        )
    if name is not None and name != uri.rstrip("/").rpartition("/")[2]:
        raise InputError(
            f"output.name is {name!r}, but --resume {hide_secrets(uri)} names the run; leave"
            " --name out"
        )
    return uri


def with_name(configuration: Configuration, label: str) -> Configuration:
    """The configuration with a name for its run, made of `label` and the time if it has none."""
    output = configuration.output
    name = output.name or f"{label or 'search'}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    return configuration.model_copy(update={"output": output.model_copy(update={"name": name})})


def new_run(configuration: Configuration, fill: Callable[[Run], None] = lambda _: None) -> Run:
    """Make the directory of a new run.

    Args:
        configuration: written to it; it names the run.
        fill: writes what else a run has from its first moment on.

    Raises:
        RunError: the name is taken, or the directory cannot be written.
    """

    def write(run: Run) -> None:
        write_configuration(run, configuration)
        fill(run)

    assert configuration.output.name is not None
    return create_run(Path(configuration.output.directory), configuration.output.name, write)


def write_configuration(run: Run, configuration: Configuration) -> None:
    """Write `config.yaml`: all but the name, so that the command with it repeats the run."""
    run.write_config(to_yaml(to_plain(configuration, with_name=False)))


def to_plain(configuration: Configuration, *, with_name: bool = True) -> Values:
    """All sections and fields as plain values; of a searched domain only its kind."""
    plain = configuration.model_dump(mode="json")
    plain["search"]["space"] = to_plain_space(configuration.search.space)
    if not with_name:
        del plain["output"]["name"]
    return plain


def _given(options: argparse.Namespace) -> Values:
    values = given_fields(options, SECTIONS)
    for option, (section, field) in SHORT.items():
        value = getattr(options, option)
        if value is not None:
            values.setdefault(section, {}).setdefault(field, value)
    return values


def read_chosen(config: str | None) -> Values:
    """The values of a YAML file or a shipped configuration; None: none.

    Raises:
        InputError: there is no such file or configuration, or it cannot be read.
    """
    if config is None:
        return {}
    if config in shipped_names():
        return _shipped(config)
    if Path(config).suffix in (".yaml", ".yml") or os.sep in config or Path(config).is_file():
        return read_yaml(Path(config))
    raise InputError(
        f"--config is {config!r}, but must be a YAML file or a shipped name;"
        f" {nearest(config, shipped_names())}"
    )


def _shipped(name: str) -> Values:
    return read_yaml(Path(str(files("tuning") / "configurations" / f"{name}.yaml")))


def _absolute(configuration: Configuration) -> Configuration:
    """Local paths made absolute, so that the run repeats from any directory and in any worker."""
    data, model = configuration.data, configuration.model
    if data.path != SAMPLE and not is_uri(data.path):
        data = data.model_copy(update={"path": _absolute_path(data.path)})
    if model.name != TINY and Path(os.path.expanduser(model.name)).is_dir():  # noqa: PTH111
        model = model.model_copy(update={"name": _absolute_path(model.name)})
    cluster = configuration.cluster
    if cluster.storage_path is not None and "://" not in cluster.storage_path:
        storage = _absolute_path(cluster.storage_path)
        cluster = cluster.model_copy(update={"storage_path": storage})
    return configuration.model_copy(update={"data": data, "model": model, "cluster": cluster})


def _absolute_path(path: str) -> str:
    # Not Path's: it raises for an unknown user, where this leaves the name to be looked for.
    return str(Path(os.path.expanduser(path)).absolute())  # noqa: PTH111


def command_line(arguments: Sequence[str]) -> str:
    """The command as the record keeps it, ready for a shell."""
    return shlex.join(["python", "-m", "tuning.search", *arguments])
