"""Whether the winner's encoder is worth its cost, and which candidate an evaluation is of.

The winner has the best confirmed mean. If its encoder takes more than twice as long for a row as
another one, and its lead over that one's best candidate is not significant, the cheaper encoder is
recommended: as the simplest of those that cannot be distinguished from the best (Breiman et al.
1984, Classification and Regression Trees, section 3.4.3).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results.parameter_values import MODEL, find_model, format_value, short_model_names
from results.trial_states import SearchStatus

MOST_COST = 2.0
"""Ratio of seconds per row up to which an encoder is not cheaper."""


@dataclass(frozen=True, kw_only=True)
class CheaperEncoder:
    """An encoder whose best candidate the winner does not lead significantly."""

    name: str
    """In full."""
    winner: str
    """Name of the winner's encoder."""
    trial_id: str
    ratio: float
    """Seconds per row of the winner's encoder over this one's."""
    difference: float
    """The winner's score minus this candidate's, mean over the shared replicates."""
    replicates: int
    score_label: str
    names: Mapping[str, str]
    """Short names of all encoders."""

    @property
    def short_name(self) -> str:
        """Its name as the command accepts it."""
        return format_value(self.name, self.names)

    def __str__(self) -> str:
        """Return the reason as a sentence without a full stop."""
        ahead = f"{self.difference * 100:+.1f} points of {self.score_label}"
        return (
            f"the winner's encoder, {format_value(self.winner, self.names)}, takes"
            f" {self.ratio:.1f} times as long for a row as {self.short_name}, and its lead over"
            f" that one's best candidate, {self.trial_id} ({ahead} on {self.replicates} shared"
            " replicates), is not significant"
        )


def encoders_of(record: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return `encoders` of a record; empty for a run of an older version."""
    found = record.get("encoders")
    return found if isinstance(found, list) else ()


def facts_of_model(record: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    """Return what a record holds about a model; empty: nothing."""
    model = (record.get("environment") or {}).get("model") or {}
    found = [one for one in encoders_of(record) if one["name"] == name]
    return found[0] if found and are_searched(record) else dict(model)


def are_searched(record: Mapping[str, Any]) -> bool:
    """Return whether a search compared several encoders."""
    return len(encoders_of(record)) > 1


def encoder_of_winner(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the entry of the winner's encoder; None: there is no winner, or no such entry."""
    best = record.get("best") or {}
    name = best.get("parameters", {}).get(MODEL)
    return next((one for one in encoders_of(record) if one["name"] == name), None)


def cheaper_encoders(record: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], float]]:
    """Return the encoders that cost less than half of the winner's for a row, and the ratios."""
    ahead = encoder_of_winner(record)
    if ahead is None or not ahead.get("seconds_per_row"):
        return []
    seconds = ahead["seconds_per_row"]
    return [
        (one, seconds / one["seconds_per_row"])
        for one in encoders_of(record)
        if one.get("seconds_per_row") and seconds / one["seconds_per_row"] > MOST_COST
    ]


def recommended_encoder(record: Mapping[str, Any]) -> CheaperEncoder | None:
    """Return the cheapest encoder that is recommended instead of the winner's; None: there is none.

    Args:
        record: content of `search.json`, of any version.
    """
    if record["status"] != SearchStatus.COMPLETED:
        return None
    found = [
        (one, ratio)
        for one, ratio in cheaper_encoders(record)
        if (lead := one.get("lead_of_winner"))
        and not (lead["distinguishable"] and lead["difference"] > 0)
        and not one["best"].get("collapsed_or_diverged")
    ]
    if not found:
        return None
    one, ratio = max(found, key=lambda pair: pair[1])
    return CheaperEncoder(
        name=one["name"],
        winner=record["best"]["parameters"][MODEL],
        trial_id=one["best"]["trial_id"],
        ratio=ratio,
        difference=one["lead_of_winner"]["difference"],
        replicates=one["lead_of_winner"]["replicates"],
        score_label=str(record["objective"]["label"]),
        names=short_model_names(record),
    )


def find_encoder(record: Mapping[str, Any], wanted: str) -> str:
    """Return the name of the encoder that a user asks for: the whole name, or its unique end.

    Raises:
        ValueError: there is no such encoder, or it has no candidate; the text is the value and the
            rule, without its subject.
    """
    known = _candidates(record)
    name = find_model(wanted, known)
    if name is None:
        choices = ", ".join(format_value(one, short_model_names(record)) for one in known)
        raise ValueError(
            f"{wanted!r}, but must be an encoder of this search, or the end of its name that no"
            f" other has; choose from {choices}"
        )
    if not known[name]:
        able = ", ".join(one for one, has_candidate in known.items() if has_candidate)
        raise ValueError(
            f"{name!r}, which has no confirmed candidate, but must have one; choose from"
            f" {able or 'none: search again with more trials'}"
        )
    return name


def _candidates(record: Mapping[str, Any]) -> dict[str, bool]:
    """Return the names of the encoders, and whether each has a candidate to evaluate."""
    if not are_searched(record):
        model = (record.get("environment") or {}).get("model") or {}
        return {str(model.get("name")): True}
    needs_replicates = record.get("confirmation") is not None
    return {
        one["name"]: bool(one["best"] and (one["best"]["replicates"] or not needs_replicates))
        for one in encoders_of(record)
    }


def with_encoder(record: Mapping[str, Any], name: str | None) -> dict[str, Any]:
    """Return the record with the best candidate of an encoder as `best`.

    Args:
        record: content of `search.json`.
        name: of the encoder; None, or the winner's: the record itself.

    Returns:
        The record; `is_of_choice` is true if its `best` was replaced.
    """
    ahead = encoder_of_winner(record)
    if name is None or ahead is None or name == ahead["name"]:
        return dict(record)
    best = next(one["best"] for one in encoders_of(record) if one["name"] == name)
    score = best["search_score"] if best["score"] is None else best["score"]
    return {**record, "best": {**best, "score": score, "at_edge": []}, "is_of_choice": True}


def as_evaluated(record: Mapping[str, Any], test: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the record with the candidate that was evaluated as `best`.

    Args:
        record: content of `search.json`.
        test: content of `evaluation_report.json`; None: not evaluated.
    """
    chosen = (test or {}).get("encoder") or {}
    known = {one["name"] for one in encoders_of(record)}
    name = chosen.get("name")
    return with_encoder(record, name if name in known else None)


def describe_choice(record: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return `encoder` of `evaluation_report.json`; None: the winner itself is evaluated.

    Args:
        record: content of `search.json`.
        name: of the encoder that was asked for.
    """
    ahead = encoder_of_winner(record)
    if ahead is None or name == ahead["name"]:
        return None
    advice, names = recommended_encoder(record), short_model_names(record)
    is_recommended = advice is not None and advice.name == name
    why = str(advice) if is_recommended else "it was asked for by --encoder"
    best = next(one["best"] for one in encoders_of(record) if one["name"] == name)
    return {
        "name": name,
        "trial_id": best["trial_id"],
        "winner": record["best"]["trial_id"],
        "is_recommended": is_recommended,
        "reason": (
            f"the best candidate of {format_value(name, names)}, {best['trial_id']}, was evaluated"
            f" instead of the search's winner, {record['best']['trial_id']} of"
            f" {format_value(ahead['name'], names)}: {why}"
        ),
    }
