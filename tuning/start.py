"""Build the configuration of a search, and make its run or find the one to resume."""

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path

from results.mirror import fetch_run
from results.run import Run, create_run, newest_unfinished, open_run
from training.cli import hide_secrets, is_uri, nearest
from training.config import SAMPLE, TINY, DataConfig, ModelConfig, TrainingConfig
from training.errors import InputError, Problems
from training.model_source import source_of
from training.options import Values, merge, read_yaml, to_yaml, usable, validate
from tuning.config import (
    ClusterConfig,
    Configuration,
    OutputConfig,
    SearchConfig,
    changed_fields,
    check,
)
from tuning.space import MODEL, absolute_model, to_plain_space

RECOGNISED = ("text_column", "label_column", "labels", "ordered")
"""Fields of `data` that are recognised in the table where they are null."""


def shipped_names() -> list[str]:
    """Return the names of the shipped configurations, which `--config` accepts."""
    folder = files("tuning") / "configurations"
    return sorted(Path(entry.name).stem for entry in folder.iterdir())


def resolve(
    given: Values, run: Run | None = None, *, problems: Sequence[str] = ()
) -> Configuration:
    """Return the configuration of a new run, or of the one to resume.

    Args:
        given: sections with the fields that the user gives.
        run: the run to resume; None: a new one.
        problems: of the command line, which are reported with the others.

    Raises:
        InputError: one line for each problem, as `build` and `resolve_resumed`; if there is any,
            also for those of the table and the model, as far as the configuration names them.
    """
    try:
        configuration = resolve_resumed(run, given) if run else build(given)
    except InputError as error:
        problems = [*problems, *error.problems]
    else:
        if not problems:
            return configuration
    raise InputError(*problems, *([] if run else _problems_of_files(given)))


def _problems_of_files(given: Values) -> list[str]:
    """Return the problems of the table and the model that are given, if they are files."""
    values, problems = _merged(given), Problems()
    data = usable(DataConfig, values.get("data")) if given.get("data") else None
    if data is not None and not is_uri(data.path):
        from training.data import check_table  # the library for tables takes a while to load

        problems.attempt(lambda: check_table(data))
    if model := usable(ModelConfig, values.get("model") or {}):
        for name in dict.fromkeys([model.name, *searched_models(values)]):
            if name != TINY:
                problems.attempt(partial(source_of, model.model_copy(update={"name": name})))
    return problems.lines


def resolve_resumed(run: Run, given: Values) -> Configuration:
    """Return the configuration of a run to resume: its own, with the given changes.

    What was recognised when the run started counts as given, so that null stands for it.

    Raises:
        InputError: as `build`, or one line for each change that a resume must not make.
    """
    values = read_configuration(run)
    old = build(values)
    new = build(merge(values, _without_nulls(given)))
    if problems := changed_fields(old, new):
        raise InputError(*problems)
    return new


def _without_nulls(given: Values) -> Values:
    """Return the values without the fields of data that null leaves to be recognised."""
    data = given.get("data")
    if not isinstance(data, dict):
        return given
    kept = {key: n for key, n in data.items() if n is not None or key not in RECOGNISED}
    return {**given, "data": kept}


def read_configuration(run: Run) -> Values:
    """Return the values of a run's `config.yaml`; an older one decides by the first rule.

    Raises:
        InputError: the file cannot be read.
    """
    values = run.with_own_data(read_yaml(run.config))
    return merge({"search": {"decision_rule": 1}}, values)


def build(values: Values) -> Configuration:
    """Merge `values` into the shipped base of their model, and check the whole.

    The base is `sample` when the model is `tiny` (the default), else `encoder`: any encoder on any
    table. Where `model` is searched, trial 0 has the given model, or else the first of the choice,
    and the base is `sample` only if all of them are `tiny`. Columns and labels that are null are
    recognised when the data are read.

    Raises:
        InputError: one line for each unknown key, wrong type, value out of range or bad space.
    """
    merged = _merged(values)
    try:
        configuration = validate(Configuration, merged, where="configuration")
    except InputError as error:
        raise InputError(*error.problems, *_further_problems(merged)) from error
    if problems := list(_further_problems(merged)):
        raise InputError(*problems)
    return _absolute(configuration)


def _merged(values: Values) -> Values:
    model, searched = values.get("model"), searched_models(values)
    first = searched[0] if searched else TINY
    name = model.get("name", first) if isinstance(model, dict) else first
    is_tiny = all(one == TINY for one in (name, *searched))
    base = {"data": {}, **_shipped("sample" if is_tiny else "encoder"), "model": {"name": name}}
    return merge(base, values)


def searched_models(values: Values) -> list[str]:
    """Return the names of encoders in the space of values as they are given, unchecked."""
    found: object = values
    for key in ("search", "space", MODEL, "choice"):
        found = found.get(key) if isinstance(found, dict) else None
    names = found if isinstance(found, list | tuple) else ()
    return [name for name in names if isinstance(name, str) and name]


def _further_problems(merged: Values) -> Iterator[str]:
    """Yield the problems between sections; a field that is wrong by itself has its default."""
    yield from check(
        data=usable(DataConfig, merged.get("data") or {}),
        model=usable(ModelConfig, merged.get("model") or {}),
        training=usable(TrainingConfig, merged.get("training") or {}),
        search=usable(SearchConfig, merged.get("search") or {}),
        cluster=usable(ClusterConfig, merged.get("cluster") or {}),
    )


def find_run(given: Values, uri: str) -> Run:
    """Return the run to resume: the named one, the newest unfinished one, or the one at a URI.

    Args:
        given: values of the configuration; its section `output` has the directory of the runs.
        uri: URI of the run; empty: the run is in `output.directory`.

    Raises:
        InputError: the value is not a URI.
        RunError: there is no such run.
        StorageError: the URI's storage cannot be reached.
    """
    output = validate(OutputConfig, given.get("output") or {}, where="output")
    directory, name = Path(output.directory), output.name
    if uri:
        return fetch_run(_checked_uri(uri, name), directory)
    return open_run(directory / name) if name else newest_unfinished(directory)


def _checked_uri(uri: str, name: str | None) -> str:
    if not is_uri(uri):
        raise InputError(
            f"--resume is {uri!r}, but must be a URI (STORAGE_PATH/NAME) or have no value; for a"
            f" run in output.directory give --resume --name {shlex.quote(Path(uri).name)}"
        )
    if name is not None and name != uri.rstrip("/").rpartition("/")[2]:
        raise InputError(
            f"output.name is {name!r}, but --resume {hide_secrets(uri)} names another run; leave"
            " --name out"
        )
    return uri


def with_name(configuration: Configuration, label: str) -> Configuration:
    """Return the configuration with a name: its own, or `label` and the UTC time."""
    output = configuration.output
    name = output.name or f"{label or 'search'}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    return configuration.model_copy(update={"output": output.model_copy(update={"name": name})})


def new_run(configuration: Configuration, fill: Callable[[Run], None] = lambda _: None) -> Run:
    """Make the directory of a new run.

    Args:
        configuration: written to `config.yaml`; it names the run.
        fill: writes the other files that a new run has.

    Raises:
        RunError: the name is taken, or the directory cannot be written.
    """

    def write(run: Run) -> None:
        write_configuration(run, configuration)
        fill(run)

    assert configuration.output.name is not None
    return create_run(Path(configuration.output.directory), configuration.output.name, write)


def write_configuration(run: Run, configuration: Configuration) -> None:
    """Write `config.yaml` without the name, so that a search with this file repeats the run."""
    run.write_config(to_yaml(to_plain(configuration, with_name=False)))


def to_print(configuration: Configuration) -> str:
    """Return the YAML that gives this configuration as `--config`.

    A confidence column that nobody asked for is left out: given, it would have to exist.
    """
    plain = to_plain(configuration)
    if not configuration.data.asks_for_confidence:
        del plain["data"]["confidence_column"]
    return to_yaml(plain)


def to_plain(configuration: Configuration, *, with_name: bool = True) -> Values:
    """Return all sections and fields as plain values, a searched range as its one kind."""
    plain = configuration.model_dump(mode="json")
    plain["search"]["space"] = to_plain_space(configuration.search.space)
    if not with_name:
        del plain["output"]["name"]
    return plain


def read_chosen(config: str | None) -> Values:
    """Return the values of a YAML file or a shipped configuration; None gives no values.

    Raises:
        InputError: there is no such file or configuration, or it cannot be read.
    """
    if config is None:
        return {}
    if config in shipped_names():
        return _shipped(config)
    if Path(config).suffix in (".yaml", ".yml") or os.sep in config or Path(config).is_file():
        return Run(Path(config).parent).with_own_data(read_yaml(Path(config)))
    raise InputError(
        f"--config is {config!r}, but must be a YAML file or a shipped name;"
        f" {nearest(config, shipped_names())}"
    )


def _shipped(name: str) -> Values:
    return read_yaml(shipped_file(name))


def shipped_file(name: str) -> Path:
    """Return the path of a shipped configuration."""
    return Path(str(files("tuning") / "configurations" / f"{name}.yaml"))


def _absolute(configuration: Configuration) -> Configuration:
    """Make local paths absolute, so that the run repeats from any directory and in any worker."""
    data, model = configuration.data, configuration.model
    if data.path != SAMPLE and not is_uri(data.path):
        data = data.model_copy(update={"path": _absolute_path(data.path)})
    model = model.model_copy(update={"name": absolute_model(model.name)})
    cluster = configuration.cluster
    if cluster.storage_path is not None and "://" not in cluster.storage_path:
        storage = _absolute_path(cluster.storage_path)
        cluster = cluster.model_copy(update={"storage_path": storage})
    output, search = configuration.output, configuration.search
    earlier = dict.fromkeys(_path_of_run(name, output.directory) for name in search.warm_start)
    search = search.model_copy(update={"warm_start": tuple(earlier)})
    changed = {"data": data, "model": model, "search": search, "cluster": cluster}
    return configuration.model_copy(update=changed)


def _path_of_run(name: str, directory: str) -> str:
    """Return the path of an earlier run, given as a path or as a name in a directory of runs."""
    path = _absolute_path(name)
    inside = _absolute_path(os.path.join(directory, name))  # noqa: PTH118
    return path if Run(Path(path)).config.exists() or not Path(inside).is_dir() else inside


def _absolute_path(path: str) -> str:
    # Not Path.expanduser, which raises for an unknown user; this leaves the text as it is.
    return str(Path(os.path.expanduser(path)).absolute())  # noqa: PTH111
