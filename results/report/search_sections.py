"""Sections that the search fills: three scores, confirmation, leaderboard, data, repeating it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from results.environment import recorded_version
from results.report.markup import (
    Trace,
    axis,
    cards,
    chart,
    code,
    number,
    paragraphs,
    shaded_table,
    sortable_table,
    table,
)
from results.report.run_data import ReportTrial, RunData, number_in
from results.score_names import BESIDE_THE_SCORE, OVERALL, name_three_scores
from results.trial_states import SearchStatus, Status
from results.verdict import describe_result


def three_scores(record: Mapping[str, Any], test: Mapping[str, Any] | None) -> str:
    """The winner's search score, confirmed mean and test score side by side, and the gap.

    Args:
        record: content of `search.json`.
        test: content of `evaluation_report.json`; None before the test is opened.
    """
    best = record.get("best")
    if best is None:
        return paragraphs(["No trial has a score yet."])
    confirmed = best["score"] if record.get("confirmation") else None
    told = (test or {}).get("search") or {}
    confirmed = told.get("confirmed_score", confirmed)
    searched = told.get("search_score", best["search_score"])
    tested = test["score"] if test else None
    rows = [
        [name, number(score) or ("not opened" if name == "test" else "none"), on]
        for name, score, on in name_three_scores(searched, confirmed, tested)
    ]
    label = record["objective"]["label"]
    return table([f"{label} of the winner", "score", "on"], rows) + paragraphs(
        _optimism({"search": searched, "confirmation": confirmed}, tested)
    )


def _optimism(selected: Mapping[str, float | None], tested: float | None) -> Iterator[str]:
    """The gap between each score that was selected on and the test, in words."""
    for name, score in selected.items():
        if score is None or tested is None:
            continue
        gap = round((score - tested) * 100, 2)
        if gap == 0:
            yield f"The {name} shows no optimism: its score is the test's."
        elif gap > 0:
            yield f"Optimism of the {name}: its score is {gap:.2f} points above the test's."
        else:
            yield f"The {name} shows no optimism: its score is {-gap:.2f} points below the test's."


def confirmation(data: RunData) -> str:
    """The scores of each candidate on fresh draws."""
    found = data.record.get("confirmation")
    if not found:
        return paragraphs(
            ["None: scores of the search are the best of many and therefore too high."]
        )
    candidates, default = found["candidates"], data.record.get("default") or {}
    rows = [
        [
            _parameters(candidate["parameters"]),
            ", ".join(number(score) or "none" for score in candidate["score"]),
            number(candidate["mean"]),
            number(candidate["standard_error"]),
        ]
        for candidate in candidates
    ]
    label = data.score_label
    header = ["configuration", f"{label} on each fresh draw", "mean", "standard error"]
    names = [_candidate_name(candidate, data, default) for candidate in candidates]
    return (
        paragraphs(["Selected on; the default comes first."])
        + _draws(names, candidates, label)
        + table(header, rows, caption="Candidates on fresh draws")
    )


def _candidate_name(candidate: Mapping[str, Any], data: RunData, default: Mapping[str, Any]) -> str:
    if candidate["parameters"] == default.get("parameters"):
        return "default"
    same = [t for t in data.searched if t.parameters == candidate["parameters"]]
    return same[0].trial_id if same else _parameters(candidate["parameters"])


def _draws(names: Sequence[str], candidates: Sequence[Mapping[str, Any]], score_label: str) -> str:
    """A column a candidate: each draw a point, equal draws joined, the mean a bar."""
    num_draws = max((len(candidate["score"]) for candidate in candidates), default=0)
    traces: list[Trace] = [
        {
            **{"type": "scatter", "mode": "lines+markers", "name": f"draw {draw + 1}"},
            "x": list(names),
            "y": [_nth(candidate["score"], draw) for candidate in candidates],
            "line": {"width": 1, "dash": "dot", "color": "@muted"},
            "marker": {"color": "@blue", "size": 8},
            "showlegend": False,
            "hovertemplate": f"draw {draw + 1}, %{{x}}: %{{y:.4f}}<extra></extra>",
        }
        for draw in range(num_draws)
    ]
    traces.append(
        {
            **{"type": "scatter", "mode": "markers", "name": "mean", "x": list(names)},
            "y": [candidate["mean"] for candidate in candidates],
            "marker": {
                **{"symbol": "line-ew", "size": 34},
                "line": {"color": "@orange", "width": 3},
            },
            "hovertemplate": "mean of %{x}: %{y:.4f}<extra></extra>",
        }
    )
    layout = {"xaxis": axis("", type="category"), "yaxis": axis(f"{score_label} (validation)")}
    return chart(
        "Candidates on fresh draws",
        "A dotted line joins the scores of one draw: the same seed, split and order of rows for"
        " all candidates, so that lines that rise or fall together say which is better.",
        traces,
        layout,
        height=340,
    )


def _nth(scores: Sequence[float | None], place: int) -> float | None:
    return scores[place] if place < len(scores) else None


def leaderboard(data: RunData) -> str:
    """All trials of the search, the best first; those of the confirmation apart."""
    trials = sorted(data.searched, key=_rank)
    if not trials:
        return paragraphs(["No trial has begun yet."])
    roles = {data.id_of("default"): " (default)"}
    roles |= {data.id_of("best"): " (winner)"}
    shown = _columns(data)
    header = ["trial", "ended as", *data.parameters, *shown]
    return paragraphs([_ORDER]) + sortable_table(
        header,
        [
            [
                f"{trial.trial_id}{roles.get(trial.trial_id, '')}",
                trial.status + (f" by the {trial.stopped_by}" if trial.stopped_by else ""),
                *(_cell(value) for value in trial.parameters.values()),
                *(cell(trial) for cell in shown.values()),
            ]
            for trial in trials
        ],
        caption="Trials of the search; a column's button sorts by it",
    )


_ORDER = (
    "Full trainings first, by their score; then those that ended earlier, whose scores are of less"
    " training and not to be compared with them. The peak is shown and never compared."
)


def _columns(data: RunData) -> dict[str, Callable[[ReportTrial], str]]:
    """Columns after the parameters, by title: what each shows of a trial."""
    beside = [key for key in BESIDE_THE_SCORE if key != data.record["objective"]["name"]]
    return {
        data.score_label: lambda trial: _figure(trial, "score", ".4f"),
        "peak": _peak,
        **{OVERALL[key]: partial(_figure, key=key, form=".4f") for key in beside},
        "epochs": lambda trial: _figure(trial, "epochs", ".2f"),
        "seconds": lambda trial: _figure(trial, "seconds", ",.0f"),
        "error": lambda trial: trial.row.get("error", ""),
    }


def _figure(trial: ReportTrial, key: str, form: str) -> str:
    """A number of the trial's row, with as many digits in all rows of a column."""
    value = number_in(trial.row.get(key, ""))
    return format(value, form) if math.isfinite(value) else ""


def _peak(trial: ReportTrial) -> str:
    return f"{max(score for _, score in trial.curve):.4f}" if trial.curve else ""


def _cell(value: float) -> Any:
    """A number as short as it can be told apart; whole ones without a point."""
    if not math.isfinite(value):
        return ""
    return int(value) if value.is_integer() else float(f"{value:.4g}")


def data(found: Mapping[str, Any]) -> str:
    """Rows kept and dropped, the classes of each split, groups, what the labels are worth."""
    counts = found.get("class_counts", {})
    labels = list(next(iter(counts.values()), {}))
    rows = [
        (
            split,
            [
                (f"{of[label]:,} ({of[label] / max(sum(of.values()), 1):.1%})", _share(of, label))
                for label in labels
            ],
        )
        for split, of in counts.items()
    ]
    dropped = [[reason, count] for reason, count in found.get("dropped", {}).items()]
    kept = f"{found.get('kept', 0):,} of {found.get('rows', 0):,} rows kept"
    return (
        paragraphs(
            [
                f"Data {found.get('path')}: {kept}; SHA-256 {found.get('sha256')}.",
                *_groups(found),
                *label_worth(found),
            ]
        )
        + shaded_table(["split", *labels], rows, caption="Rows of each class, share of the split")
        + table(["dropped for", "rows"], dropped, caption="Rows that were dropped")
    )


def _share(counts: Mapping[str, int], label: str) -> float:
    return counts[label] / max(sum(counts.values()), 1)


def _groups(found: Mapping[str, Any]) -> Iterator[str]:
    if "duplicate_groups" in found:
        yield (
            f"{found['duplicate_groups']:,} groups of like texts; each stands whole in one split."
        )
    if repeated := found.get("repeated_test_rows"):
        yield (
            f"{repeated:,} test rows repeat the text of another: the file fixes the test, so none"
            " of its rows was dropped; each text is one group."
        )


def label_worth(found: Mapping[str, Any]) -> Iterator[str]:
    """How often the labels contradict themselves, where texts stand more than once."""
    noise = found.get("label_noise")
    if noise:
        yield (
            f"Of the texts that stand more than once, {noise:.1%} have labels that disagree: no"
            " model can be expected to agree with such labels everywhere."
        )


def repeat(record: Mapping[str, Any]) -> str:
    """The command, and with what it ran."""
    exact = "to the last digit" if record.get("repeatable") else "but for timing and hardware"
    environment = record.get("environment") or {}
    model = environment.get("model") or {}
    facts = [
        ["status", record["status"]],
        ["started", record.get("started_at", "")],
        ["seconds", f"{record['seconds']:,.0f}"],
        ["version of this program", recorded_version(record)],
        ["commit of this program", environment.get("commit") or "not known"],
        ["model", model.get("name", "")],
        ["revision of the model", model.get("revision") or "none given"],
        ["SHA-256 of the model", model.get("sha256") or "none: made from scratch"],
        ["SHA-256 of the data", record["data"].get("sha256", "")],
        ["devices", ", ".join(map(str, environment.get("devices", [])))],
        ["Python", environment.get("python", "")],
        *([package, version] for package, version in environment.get("packages", {}).items()),
    ]
    return (
        code(record.get("command", ""))
        + paragraphs(
            [
                f"The scores repeat {exact}.",
                "Beside this page: config.yaml, the resolved configuration; best.yaml, the winner.",
            ]
        )
        + table(["what", "value"], facts, caption="What it ran with")
    )


def _parameters(values: Mapping[str, float]) -> str:
    """A configuration's searched values in one line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def _rank(trial: ReportTrial) -> tuple[bool, float]:
    """Full budgets before others, best scores first."""
    score = number_in(trial.row["score"])
    return trial.status != Status.COMPLETED, -score if math.isfinite(score) else math.inf


def verdict(data: RunData) -> str:
    """What won, by how much, how surely, what the test said, and what the labels are worth."""
    record, test = data.record, data.test
    if record.get("best") is None:
        return paragraphs([f"The search is {record['status']}; no trial has a score yet."])
    lines = [
        *_state(record),
        *([test["summary"]] if test else ["The test was not opened."]),
        *describe_result(record),
        *label_worth(record["data"]),
    ]
    sentences = [line if line.endswith(".") else f"{line}." for line in lines]
    return cards(_figures(record, test)) + paragraphs(sentences) + three_scores(record, test)


def _state(record: Mapping[str, Any]) -> Iterator[str]:
    if record["status"] != SearchStatus.COMPLETED:
        yield f"The search is {record['status']}: what stands here is not its result yet."


def _figures(
    record: Mapping[str, Any], test: Mapping[str, Any] | None
) -> Iterator[tuple[str, str, str]]:
    best, default = record["best"], record.get("default") or {}
    label = record["objective"]["label"]
    values = ", ".join(f"{name} {value:.4g}" for name, value in best["parameters"].items())
    yield "winner", best["trial_id"], values
    yield "lead over the default", *_lead(record, best, default)
    if test is None:
        yield f"test {label}", "not opened", "python -m evaluation.final opens it, once"
        return
    low, high = test["confidence_intervals"]["score"]
    against = test["baseline"]
    of_baseline = f"95 % interval {low:.3f} to {high:.3f}; baseline {against['score']:.3f}"
    yield f"test {label}", f"{test['score']:.3f}", of_baseline
    yield "gates met", *_gates(test)


def _lead(
    record: Mapping[str, Any], best: Mapping[str, Any], default: Mapping[str, Any]
) -> tuple[str, str]:
    """Points of the score, and what they are worth."""
    if best["trial_id"] == default.get("trial_id"):
        return "none", "the default stays: nothing was shown to be better"
    confirmation = record.get("confirmation") or {}
    found = confirmation.get("winner_beats_default")
    if not found:
        return "not known", confirmation.get("verdict", "not confirmed on fresh draws")
    worth = "distinguishable" if found["distinguishable"] else "not yet distinguishable"
    draws = f"on {found['draws']} fresh draws, standard error"
    return (
        f"{found['difference'] * 100:+.2f} points",
        f"{draws} {found['standard_error'] * 100:.2f}: {worth}",
    )


def _gates(test: Mapping[str, Any]) -> tuple[str, str]:
    stages = [gate for checks in test.get("stages", {}).values() for gate in checks.values()]
    quality = list(test.get("gates", {}).values())
    checks = [*quality, *stages]
    met = sum(gate["met"] for gate in checks)
    told = "quality and stage gates" if quality else "stage gates; no quality gate was asked for"
    return f"{met} of {len(checks)}", told
