from pathlib import Path

import numpy as np
from transformers import AutoTokenizer

from tests.training.models import table_of_lengths, toy_rows
from training.tokens import describe_tokens, encode, from_rows, unknown_shares


def test_a_table_returns_the_rows_it_was_built_from() -> None:
    rows = [np.array(row, dtype=np.int32) for row in ([2, 7, 3], [2, 3], [2, 9, 9, 9, 3])]
    table = from_rows(rows)
    assert len(table) == 3
    assert table.ids.dtype == np.int32
    for number, row in enumerate(rows):
        assert table.row(number).tolist() == row.tolist()


def test_taking_rows_shares_the_ids_and_keeps_the_requested_order() -> None:
    table = table_of_lengths([3, 1, 2, 4])
    taken = table.take(np.array([3, 0, 3]))
    assert taken.ids is table.ids
    assert [taken.row(i).tolist() for i in range(3)] == [[4] * 4, [1] * 3, [4] * 4]
    assert np.shares_memory(taken.row(0), table.ids)


def test_rows_of_taken_rows_are_the_right_ones_and_keep_their_labels() -> None:
    data = toy_rows(20)
    twice = data.take(np.array([9, 4, 17])).take(np.array([2, 0]))
    assert len(twice) == 2
    assert twice.tokens.row(0).tolist() == data.tokens.row(17).tolist()
    assert twice.labels.tolist() == data.labels[[17, 9]].tolist()


def test_no_rows_make_an_empty_table() -> None:
    assert len(from_rows([])) == 0


def test_texts_are_cut_at_max_length_with_their_special_tokens(small_bert: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(small_bert)
    table = encode(tokenizer, ["aku kowe pasar sawah kali", "aku", ""], max_length=4)
    assert table.lengths.tolist() == [4, 3, 2]
    for number in range(3):
        row = table.row(number)
        assert (row[0], row[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)


def test_more_texts_than_one_chunk_keep_their_order(small_bert: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(small_bert)
    words = ["aku", "kowe", "pasar kali"]
    table = encode(tokenizer, [words[i % 3] for i in range(5000)], max_length=8)
    one = encode(tokenizer, words, max_length=8)
    assert len(table) == 5000
    for number in (0, 1, 4095, 4096, 4097, 4999):
        assert table.row(number).tolist() == one.row(number % 3).tolist()


def test_a_lone_surrogate_is_tokenised_and_not_an_error(small_bert: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(small_bert)
    table = encode(tokenizer, ["aku \ud800 kowe"], max_length=16)
    assert table.lengths[0] >= 4
    assert describe_tokens(tokenizer, ["aku \ud800"], max_length=16).tokens_per_word >= 1


def test_statistics_count_unknown_tokens_and_truncated_rows(
    small_bert: Path,
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(small_bert)
    # Four known words of one token each, and one that is unknown.
    found = describe_tokens(tokenizer, ["aku kowe pasar", "aku \u4e00"], max_length=4)
    assert found.unknown_share == 1 / 5
    assert found.tokens_per_word == 1
    assert found.truncated_share == 1 / 2  # three tokens and two special ones are five
    assert describe_tokens(tokenizer, ["aku kowe pasar"], max_length=5).truncated_share == 0


def test_unknown_shares_exclude_special_tokens_and_are_per_row() -> None:
    rows = [[2, 1, 7, 3], [2, 3], [2, 1, 1, 3], [7, 8, 1, 9], []]
    table = from_rows([np.array(row, dtype=np.int32) for row in rows])
    for special in ([2, 3], [0, 1, 2, 3]):
        shares = unknown_shares(table, unknown_id=1, special_ids=special)
        assert shares.tolist() == [0.5, 0.0, 1.0, 0.25, 0.0]
    taken = unknown_shares(table.take(np.array([3, 0])), unknown_id=1, special_ids=[2, 3])
    assert taken.tolist() == [0.25, 0.5]
    assert unknown_shares(from_rows([]), unknown_id=1, special_ids=[2]).tolist() == []
