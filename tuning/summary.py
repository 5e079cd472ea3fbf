"""What a search says of its data and its result, in plain lines."""

from collections.abc import Iterator

from tuning.preparation import Preparation


def describe_data(preparation: Preparation) -> Iterator[str]:
    """Rows kept and dropped, the parts, label noise, tokens."""
    summary, statistics = preparation.data.summary, preparation.statistics
    dropped = [f"{count:,} {reason}" for reason, count in summary.dropped.items() if count]
    yield (
        f"data {summary.path} ({summary.format}): {summary.kept:,} of {summary.rows:,} rows kept"
        + (f"; dropped: {', '.join(dropped)}" if dropped else "")
    )
    yield from summary.notes
    parts = (f"{name} {sum(n.values()):,}" for name, n in summary.class_counts.items())
    yield f"split: {', '.join(parts)}; {summary.duplicate_groups:,} groups of like texts kept whole"
    if summary.label_noise is not None:
        yield (
            f"label noise: {summary.label_noise:.1%} of the texts that stand more than once have"
            " labels that disagree"
        )
    yield (
        f"tokens: {statistics.unknown_share:.2%} unknown, {statistics.pieces_per_word:.2f} pieces"
        f" a word, {statistics.truncated_share:.2%} of the rows truncated"
    )
