"""Sections of `report.html` on the search: its data, and its repetition."""

from collections.abc import Iterator, Mapping
from typing import Any

from results.encoder_choice import encoders_of, facts_of_model
from results.environment import recorded_version
from results.next_steps import LEAST_NOISE
from results.parameter_values import format_parameters, name_of_model
from results.report.evaluation_sections import describe_method
from results.report.markup import bullets, code, fold, number, paragraphs, table
from results.report.run_data import RunData
from results.trial_states import SearchStatus

_MOST_CLASSES = 12
"""Most classes whose counts are displayed at once."""


def describe_data(record: Mapping[str, Any]) -> str:
    """Write the rows kept and dropped, the classes of each split, groups and label noise.

    Args:
        record: content of `search.json`.
    """
    found = record["data"]
    counts = found.get("class_counts", {})
    labels = list(next(iter(counts.values()), {}))
    rows = [[label, *(_count_rows(of, label) for of in counts.values())] for label in labels]
    classes = table(["class", *counts], rows, caption="Rows of each class, share of the split")
    if len(labels) > _MOST_CLASSES:
        classes = fold(f"Rows of each of the {len(labels)} classes", classes)
    rows_read = f"{found.get('rows', 0):,} rows"
    return (
        paragraphs([f"Data {found.get('path')}: {rows_read}, {_describe_dropped(found)}."])
        + bullets([*_describe_groups(found), *_describe_label_noise(record)])
        + classes
    )


def _describe_dropped(found: Mapping[str, Any]) -> str:
    dropped = {reason: num for reason, num in found.get("dropped", {}).items() if num}
    reasons = ", ".join(f"{num:,} {reason}" for reason, num in dropped.items())
    kept = f"{found.get('kept', 0):,} kept"
    return f"{kept}; dropped: {reasons}" if dropped else f"all {kept}"


def _count_rows(counts: Mapping[str, int], label: str) -> str:
    return f"{counts[label]:,} ({_share(counts, label):.0%})"


def _share(counts: Mapping[str, int], label: str) -> float:
    return counts[label] / max(sum(counts.values()), 1)


def _describe_groups(found: Mapping[str, Any]) -> Iterator[str]:
    if found.get("duplicate_groups"):
        yield (
            f"{found['duplicate_groups']:,} groups of similar texts; all rows of a group are in the"
            " same split."
        )
    if repeated := found.get("repeated_test_rows"):
        yield (
            f"{repeated:,} test rows repeat the text of another test row. The file fixes the test"
            " set, so none of its rows was dropped; each text is one group."
        )


def _describe_label_noise(record: Mapping[str, Any]) -> Iterator[str]:
    """Report how often labels of repeated texts disagree, unless the next steps report it."""
    noise = record["data"].get("label_noise")
    if noise and (noise < LEAST_NOISE or record["status"] != SearchStatus.COMPLETED):
        yield f"Of the texts that occur more than once, {noise:.1%} have labels that disagree."


def list_earlier(data: RunData) -> str:
    """Write which configurations of earlier runs were tried first; empty without any."""
    rows = [
        [
            one.get("trial_id") or "not started",
            str(one.get("run", "")),
            format_parameters(one.get("parameters", {}), data.model_names),
            number(one.get("score_there")),
            "; ".join(one.get("notes") or ()),
        ]
        for one in data.record.get("warm_start") or ()
    ]
    header = ["trial", "earlier run", "configuration", "score there", "notes"]
    return fold("Configurations of earlier runs, tried first", table(header, rows))


def describe_repetition(data: RunData) -> str:
    """Write the command that repeats the search, and how and where it was run."""
    record = data.record
    exact = "exactly" if record.get("repeatable") else "except for effects of timing and hardware"
    return (
        code(record.get("command", ""))
        + paragraphs(
            [
                f"This command repeats the scores {exact}. config.yaml has the resolved"
                " configuration, best.yaml the winner."
            ]
        )
        + fold("How the model was tested", describe_method(data.test) if data.test else "")
        + fold("Versions and files of the search", table(["item", "value"], _facts(record)))
    )


def _facts(record: Mapping[str, Any]) -> list[list[str]]:
    """Return names and values of what the search ran with, without those not known."""
    environment = record.get("environment") or {}
    model = {"name": name_of_model(record), **facts_of_model(record, name_of_model(record))}
    facts = {
        "status": record["status"],
        "started": record.get("started_at"),
        "seconds": f"{record['seconds']:,.0f}",
        "version of this program": recorded_version(record),
        "commit of this program": environment.get("commit"),
        "model": model.get("name"),
        **_costs(record),
        "revision of the model": model.get("revision"),
        "SHA-256 of the model": model.get("sha256", "")
        or ("none: initialised at random" if "sha256" in model else ""),
        "SHA-256 of the data": record["data"].get("sha256"),
        "devices": ", ".join(map(str, environment.get("devices", []))),
        "Python": environment.get("python"),
        **environment.get("packages", {}),
    }
    return [[name, str(value)] for name, value in facts.items() if value]


def _costs(record: Mapping[str, Any]) -> dict[str, str]:
    """Return size and speed of the one encoder; several have a section of their own."""
    found = encoders_of(record)
    if len(found) != 1:
        return {}
    one, costs = found[0], dict[str, str]()
    if one.get("parameters"):
        costs["parameters of the model"] = f"{one['parameters']:,}"
    if one.get("bytes"):
        costs["size of the model"] = f"{one['bytes'] / 1e6:,.1f} MB"
    if one.get("tokens_per_word"):
        costs["tokens per word"] = f"{one['tokens_per_word']:.2f}"
    if one.get("seconds_per_row"):
        costs["seconds per 1,000 training rows"] = f"{one['seconds_per_row'] * 1000:.3g}"
    return costs
