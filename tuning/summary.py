"""What a search says of its data and its result, in plain lines."""

from collections.abc import Iterator

from training.data_summary import DataSummary
from tuning.preparation import Preparation


def describe_special_rows(summary: DataSummary) -> Iterator[str]:
    """Test rows that repeat a text, and rows that the starting model was trained on."""
    if summary.repeated_test_rows:
        yield (
            f"test: {summary.repeated_test_rows:,} rows repeat the text of another; the file fixes"
            " the test, so all stay"
        )
    if summary.rows_seen is not None:
        yield (
            f"starting model: it was trained on {summary.rows_seen['train']:,} of the train rows,"
            f" {summary.rows_seen['validation']:,} of validation, {summary.rows_seen['test']:,} of"
            " the test"
        )


def describe_data(preparation: Preparation) -> Iterator[str]:
    """Rows kept and dropped, special rows, label noise, tokens, the model."""
    summary, statistics = preparation.data.summary, preparation.statistics
    dropped = [f"{count:,} {reason}" for reason, count in summary.dropped.items() if count]
    yield (
        f"data {summary.path} ({summary.format}): {summary.kept:,} of {summary.rows:,} rows kept"
        + (f"; dropped: {', '.join(dropped)}" if dropped else "")
    )
    yield from summary.notes
    parts = (f"{name} {sum(n.values()):,}" for name, n in summary.class_counts.items())
    yield f"split: {', '.join(parts)}; {summary.duplicate_groups:,} groups of like texts kept whole"
    yield from describe_special_rows(summary)
    if summary.label_noise is not None:
        yield (
            f"label noise: {summary.label_noise:.1%} of the texts that stand more than once have"
            " labels that disagree"
        )
    yield (
        f"tokens: {statistics.unknown_share:.2%} unknown, {statistics.pieces_per_word:.2f} pieces"
        f" a word, {statistics.truncated_share:.2%} of the rows truncated"
    )
    yield (
        f"model: tried in {preparation.seconds_of_checks:.1f} s, answers alike alone, padded and at"
        " full length"
    )
    if note := preparation.search_data.encoder.note:
        yield note
