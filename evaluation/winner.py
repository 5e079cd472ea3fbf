"""Load the winner of a search, and check that its data and splits are unchanged."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from results.encoder_choice import (
    describe_choice,
    facts_of_model,
    find_encoder,
    with_encoder,
)
from results.environment import check_data_rules
from results.errors import RunError
from results.parameter_values import MODEL
from results.run import Run
from results.trial_states import SearchStatus
from training.config import ModelConfig, WinningConfiguration
from training.data import RULES, PreparedData, prepare
from training.errors import InputError
from training.objective import Objective, objective
from training.options import merge, read_yaml, validate
from training.split_texts import SplitTexts, read_split_texts
from training.trained_on import TRAINED_ON, Hashes, check_not_seen, hashes_of, known_to


@dataclass(frozen=True, kw_only=True)
class Winner:
    """The winning configuration of a completed search, with its data."""

    run: Run
    record: dict[str, Any]
    """Content of `search.json`."""
    configuration: WinningConfiguration
    """Of the winner, or of the candidate that was chosen instead."""
    choice: dict[str, Any] | None
    """The candidate that was chosen instead of the winner, as `encoder_choice.describe_choice`;
    None: the winner."""
    data: PreparedData
    objective: Objective
    """The objective of the search."""
    known_before: Hashes | None
    """Hashes of the texts that the starting model was trained on; None if it does not list them."""
    held_out: SplitTexts | None
    """Hashes of the texts that the runs had that the search started from; None: it had none."""

    @property
    def texts_trained_on(self) -> Hashes:
        """Hashes of the texts that the retrained winner and its starting model were trained on."""
        own = hashes_of([*self.data.train.texts, *self.data.validation.texts])
        return own if self.known_before is None else np.union1d(own, self.known_before)

    @property
    def num_final_rows(self) -> int:
        """Number of rows that the winner is retrained on: training and validation rows."""
        return len(self.data.train.labels) + len(self.data.validation.labels)

    @property
    def own_record(self) -> dict[str, Any]:
        """The record in which `best` is what is evaluated: the winner, or the chosen candidate."""
        return with_encoder(self.record, self.choice["name"] if self.choice else None)

    @property
    def losses_seen(self) -> list[float]:
        """Final loss on the fixed training rows of each full training of the winner."""
        return list(self.own_record["best"]["fixed_rows_loss"])

    def search_curve(self) -> list[dict[str, float]]:
        """Return the evaluations of the winner in the search: the numbers of `curves.csv`."""
        trial_id = self.own_record["best"]["trial_id"]
        return [
            {name: float(row[name]) for name in row if name not in ("trial_id", "collapsed")}
            for row in self.run.read_curves()
            if row["trial_id"] == trial_id
        ]


def load_winner(run: Run, encoder: str | None = None) -> Winner:
    """Read a completed search, and prepare its data again.

    Args:
        run: the run.
        encoder: name, or its unique end, of the encoder whose best confirmed candidate is taken
            instead of the winner; None: the winner.

    Raises:
        RunError: the search is not completed; `best.yaml`, the input file or its split changed
            since the search; the search ran in a version with other rules for duplicate rows; the
            objective cannot be used; or there is no such encoder.
        InputError: `best.yaml` or the data cannot be used, or the starting model was trained on
            rows that are held out.
    """
    record = run.read_whole_record()
    if record["status"] != SearchStatus.COMPLETED:
        raise RunError(
            f"run {run.directory}: its search is {record['status']}, but must be completed; wait"
            " until it is, or resume it with python -m tuning.search --resume"
            f" --name {run.directory.name} --output.directory {run.directory.parent}"
        )
    if record["best"] is None:
        raise RunError(
            f"run {run.directory}: search.json names no winner, but must name one since its search"
            " is completed; restore the file"
        )
    check_data_rules(run, record, RULES, goal="evaluate it")
    where = f"configuration {run.best}"
    values = run.with_own_data(read_yaml(run.best))
    configuration = validate(WinningConfiguration, values, where=where)
    _check_is_the_winner(run, record, configuration)
    choice = None if encoder is None else _choice(run, record, encoder)
    if choice is not None:
        configuration = _configuration_of_choice(run, record, configuration, choice["name"])
    decided_by = _objective(run, record, configuration)
    known = _known_before(run, record, configuration.model)
    held_out = _held_out(run)
    data = prepare(configuration.data, seen=known, held_out=held_out)
    _check_unchanged(run, record, data)
    check_not_seen(
        data.summary.rows_seen,
        data.summary.num_rows,
        model=configuration.model.name,
        path=configuration.data.path,
        is_resplit=record.get("confirmation") is not None,
    )
    return Winner(
        run=run,
        record=record,
        configuration=configuration,
        choice=choice,
        data=data,
        objective=decided_by,
        known_before=known,
        held_out=held_out,
    )


def _held_out(run: Run) -> SplitTexts | None:
    """Return the texts of the runs that a search started from, as it kept them; None: of none."""
    search = read_yaml(run.config).get("search") or {}
    if not search.get("warm_start"):
        return None
    if (found := read_split_texts(run.split_texts)) is None:
        raise RunError(
            f"run {run.directory}: {run.split_texts.name} is missing, but a search with"
            " search.warm_start is split by it; restore the file"
        )
    return found


def _objective(run: Run, record: dict[str, Any], configuration: WinningConfiguration) -> Objective:
    """Return the objective in the record of the search; `best.yaml` does not name it."""
    data = configuration.data
    try:
        return objective(record["objective"]["name"], data.label_names, ordered=data.is_ordered)
    except InputError as error:
        raise RunError(
            f"run {run.directory}: the objective in search.json cannot be used ({error}); restore"
            " the file"
        ) from error


def _known_before(run: Run, record: dict[str, Any], model: ModelConfig) -> Hashes | None:
    """Return what the starting model was trained on, if it agrees with the search's record."""
    known = known_to(model)
    found = None if known is None else len(known)
    searched = facts_of_model(record, model.name).get("texts_trained_on")
    if searched is not None and found != searched:
        raise RunError(
            f"run {run.directory}: {model.name} lists {found or 'no'} texts that it was trained on,"
            f" but must list {searched}, as when the search started; restore its {TRAINED_ON}"
        )
    return known


def _check_is_the_winner(
    run: Run, record: dict[str, Any], configuration: WinningConfiguration
) -> None:
    """Compare `best.yaml` with the configuration of the search and the parameters of its winner.

    The path of the data may have changed, since their hash is compared with that of the search.
    """
    expected = _expected(run, record["best"]["parameters"])
    for section in WinningConfiguration.model_fields:
        found, wanted = getattr(configuration, section), getattr(expected, section)
        for field in type(wanted).model_fields:
            if field != "path" and getattr(found, field) != getattr(wanted, field):
                raise RunError(
                    f"run {run.directory}: {section}.{field} is {getattr(found, field)!r} in"
                    f" best.yaml, but must be {getattr(wanted, field)!r}, the value of the"
                    " search's winner; restore the file"
                )


def _expected(run: Run, parameters: Mapping[str, Any]) -> WinningConfiguration:
    """Return the configuration of the search with the parameters of a candidate."""
    searched = read_yaml(run.config)
    sections = {name: searched.get(name) for name in WinningConfiguration.model_fields}
    training = {name: value for name, value in parameters.items() if name != MODEL}
    chosen: dict[str, Any] = {"training": training}
    if MODEL in parameters:
        chosen["model"] = {"name": parameters[MODEL]}
    where = f"configuration {run.config}"
    return validate(WinningConfiguration, merge(sections, chosen), where=where)


def _choice(run: Run, record: dict[str, Any], encoder: str) -> dict[str, Any] | None:
    """Return the candidate of an encoder that is evaluated; None: it is the winner's."""
    try:
        return describe_choice(record, find_encoder(record, encoder))
    except ValueError as error:
        raise RunError(f"run {run.directory}: --encoder is {error}") from error


def _configuration_of_choice(
    run: Run, record: dict[str, Any], winning: WinningConfiguration, name: str
) -> WinningConfiguration:
    """Return the configuration of an encoder's best candidate, on the data of the winner."""
    found = _expected(run, with_encoder(record, name)["best"]["parameters"])
    return found.model_copy(update={"data": winning.data})


def _check_unchanged(run: Run, record: dict[str, Any], data: PreparedData) -> None:
    seen, found = str(record["data"].get("sha256")), data.summary.sha256
    if seen != found:
        raise RunError(
            f"data {data.summary.path}: its SHA-256 is {found[:12]}..., but must be"
            f" {seen[:12]}..., as in the search; restore the file, or search again on the new one"
        )
    try:
        with run.splits.open(encoding="utf-8", newline="") as file:
            recorded = {int(row["row"]): row["split"] for row in csv.DictReader(file)}
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise RunError(
            f"run {run.directory}: splits.csv cannot be read ({error}); restore the file"
        ) from error
    pairs = zip(data.assignment["row"].tolist(), data.assignment["split"].tolist(), strict=True)
    changed = [row for row, split in pairs if recorded.get(row) != split]
    if changed or len(recorded) != len(data.assignment):
        position = f"row {changed[0]}" if changed else "the number of rows"
        raise RunError(
            f"run {run.directory}: the split differs from the search's at {position}, but must be"
            " the same; restore splits.csv and best.yaml, and use the version of the search"
        )
