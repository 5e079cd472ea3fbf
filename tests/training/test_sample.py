from collections import Counter

import pandas as pd
import pytest

from training.folding import fold
from training.sample.generate import LABELS, PATH, Amounts, Statement, as_csv, generate, severity


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_csv(PATH)


def test_the_sample_in_the_repository_is_the_one_that_the_generator_writes() -> None:
    assert PATH.read_bytes() == as_csv(generate()).encode("utf-8")


def test_the_seed_decides_the_rows() -> None:
    assert generate(seed=1) != generate(seed=2)
    assert generate(seed=1) == generate(seed=1)


def test_the_columns_are_those_of_the_study(table: pd.DataFrame) -> None:
    assert ",".join(table.columns) == (
        "text,original_label,final_label,confidence_score,response_time,labeling_method,error"
    )
    assert 1900 <= len(table) <= 2100


def test_the_classes_are_imbalanced_as_in_the_study(table: pd.DataFrame) -> None:
    shares = table["final_label"].value_counts(normalize=True)
    assert set(shares.index) == set(LABELS)
    for label, share in zip(LABELS, Amounts().class_shares, strict=True):
        assert abs(shares[label] - share) < 0.04


def test_most_rows_that_failed_have_no_label_and_all_have_a_reason(table: pd.DataFrame) -> None:
    failed = table[table["error"].notna()]
    assert 10 <= len(failed) <= 60
    without = failed["final_label"].isna()
    assert 0.5 < without.mean() < 1
    assert set(failed.loc[~without, "error"]) == {"answer cut off"}
    assert table.loc[table["error"].isna(), "final_label"].notna().all()


def test_some_confidences_are_low_and_some_are_the_threshold_itself(table: pd.DataFrame) -> None:
    assert 40 <= (table["confidence_score"] < 0.7).sum() <= 120
    assert (table["confidence_score"] == 0.7).any()


def test_a_wrong_label_is_mostly_a_neighbouring_severity() -> None:
    amounts = Amounts(wrong_label=1, error=0, class_shares=(1, 0, 0, 0), num_equal=0, num_near=0)
    counts = Counter(row.final_label for row in generate(amounts=amounts))
    assert LABELS[0] not in counts
    assert counts[LABELS[1]] > 3 * (counts[LABELS[2]] + counts[LABELS[3]])


def test_some_texts_are_repeated_with_other_case_marks_or_mentions(
    table: pd.DataFrame,
) -> None:
    labelled = table[table["final_label"].notna()]
    folded = labelled["text"].map(fold)
    groups = labelled.groupby(folded)["final_label"]
    assert 50 <= (groups.size() > 1).sum() <= 80
    assert 4 <= (groups.nunique() > 1).sum() <= 12


def test_near_duplicates_are_pairs_and_not_one_large_group(table: pd.DataFrame) -> None:
    texts = sorted(set(table["text"].map(fold)))
    shingles = [frozenset(text[i : i + 4] for i in range(len(text) - 3)) for text in texts]
    alike = [0] * len(texts)
    # Sorted, the larger set at most 1 / 0.8 times the smaller: only these can be so alike.
    by_size = sorted(range(len(texts)), key=lambda i: len(shingles[i]))
    for position, i in enumerate(by_size):
        for j in by_size[position + 1 :]:
            if len(shingles[j]) * 0.8 > len(shingles[i]):
                break
            common = len(shingles[i] & shingles[j])
            if common >= 0.8 * (len(shingles[i]) + len(shingles[j]) - common):
                alike[i] += 1
                alike[j] += 1
    assert 50 <= sum(n > 0 for n in alike) <= 120
    assert max(alike) <= 3


def test_cells_hold_what_breaks_careless_readers(table: pd.DataFrame) -> None:
    for part in ("\n", '"', ",", "@kanca", "https://", "😂"):
        assert table["text"].str.contains(part, regex=False).sum() >= 5, part


@pytest.mark.parametrize(
    ("target", "predicate", "manner", "expected"),
    [
        ("thing", "fault", "intensified", 0),
        ("self", "fault", "bare", 0),
        ("group", "plain", "intensified", 0),
        ("group", "exclusion", "denied", 0),
        ("person", "fault", "bare", 1),
        ("person", "fault", "softened", 1),
        ("person", "fault", "intensified", 2),
        ("person", "contempt", "bare", 2),
        ("group", "fault", "bare", 2),
        ("group", "contempt", "bare", 3),
        ("person", "exclusion", "intensified", 3),
    ],
)
def test_severity_depends_on_target_strength_and_denial_together(
    target: str, predicate: str, manner: str, expected: int
) -> None:
    assert severity(Statement(target=target, predicate=predicate, manner=manner)) == expected
