"""The section of `report.html` on the encoders of a search: their scores beside their costs."""

from collections.abc import Iterator, Mapping
from typing import Any

from results.encoder_choice import (
    are_searched,
    cheaper_encoders,
    encoder_of_winner,
    encoders_of,
    recommended_encoder,
)
from results.parameter_values import format_value
from results.report.markup import Titled, fold, number, paragraphs, table
from results.report.run_data import RunData
from results.score_names import describe_epochs
from results.trial_states import SearchStatus

_EXPLAINED = (
    "Trials of all encoders are compared after equal numbers of training rows. Seconds are the"
    " median over the trainings of an encoder, evaluations included. A standard error is that of"
    " the mean over the replicates that the encoder's best candidate was trained on; a candidate"
    " that was dropped has fewer."
)


def describe_encoders(data: RunData) -> str:
    """Write scores and costs of the encoders; empty where one was searched."""
    record = data.record
    if not are_searched(record):
        return ""
    header = ["encoder", f"best {data.score_label} in the search", "confirmed mean"]
    header += ["seconds per 1,000 training rows", "parameters", "size in MB", "tokens per word"]
    header += ["trials", "ended"]
    rows = [_row(one, data) for one in encoders_of(record)]
    return (
        paragraphs(_describe_choice(data))
        + table(header, rows)
        + fold("How encoders are compared", paragraphs([_EXPLAINED]))
    )


def _row(one: Mapping[str, Any], data: RunData) -> list[Any]:
    best, seconds = one.get("best") or {}, one.get("seconds_per_row")
    ahead = encoder_of_winner(data.record)
    name = format_value(one["name"], data.model_names)
    is_winner = ahead is not None and ahead["name"] == one["name"]
    return [
        Titled(name + " (winner)" * is_winner, format_value(one["name"])),
        number(best.get("search_score")),
        _confirmed(best),
        "" if seconds is None else f"{seconds * 1000:.3g}",
        f"{one['parameters']:,}" if one.get("parameters") else "",
        _megabytes(one["bytes"]) if one.get("bytes") else "",
        f"{one['tokens_per_word']:.2f}" if one.get("tokens_per_word") else "",
        one["trials"],
        _ending(best, data),
    ]


def _megabytes(num_bytes: int) -> str:
    size = num_bytes / 1e6
    return f"{size:,.0f}" if size >= 10 else f"{size:.1f}"


def _confirmed(best: Mapping[str, Any]) -> str:
    if best.get("score") is None:
        return ""
    error, num = best.get("standard_error"), best["replicates"]
    within = "" if error is None else f" \u00b1 {error:.3f}"
    return f"{best['score']:.3f}{within} ({num} replicate{'s' * (num != 1)})"


def _ending(best: Mapping[str, Any], data: RunData) -> str:
    """Return how far the best candidate of an encoder came."""
    if not best:
        return "no trial ended with a score"
    if best["replicates"]:
        broken = best.get("collapsed_or_diverged")
        return f"confirmed, collapsed or diverged on {broken}" if broken else "confirmed"
    if data.record["status"] == SearchStatus.RUNNING:
        return "not confirmed yet"
    if not data.record.get("confirmation"):
        return "the search had no confirmation"
    taken = describe_epochs(best.get("search_epochs"), data.epochs)
    return f"not confirmed: its best trial ended {taken}" if taken else "not confirmed"


def _describe_choice(data: RunData) -> Iterator[str]:
    """Write which encoder is recommended, and which cheaper ones were not compared."""
    record = data.record
    if record["status"] != SearchStatus.COMPLETED:
        return
    if (advice := recommended_encoder(record)) is not None:
        yield f"Recommended: {advice.short_name}, since {advice}."
    for one, ratio in cheaper_encoders(record):
        if one.get("lead_of_winner") is None:
            name = format_value(one["name"], data.model_names)
            yield (
                f"{name}: the winner's encoder takes {ratio:.1f} times as long for a row; the two"
                " were not compared on enough replicates, of which at least two are needed."
            )
