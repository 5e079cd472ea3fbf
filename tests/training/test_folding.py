import pytest

from training.folding import fold, identity, identity_of_text


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("RT @Budi: Sugeng ÉNJING!!  https://t.co/x1 URL", "sugeng énjing"),
        ("USER USER apa_kabar 2019?", "apa kabar"),
        ("murah www.contoh.id/a?b=c saiki", "murah saiki"),
        ("users artinya curl", "users artinya curl"),
        ("m² ½ ٣", "m"),
        ("a\n\tb", "a b"),
        ("RT2 rt-rw", "rw"),
        ("😂😂 !!", ""),
        ("@a https://b.c RT", ""),
        ("", ""),
    ],
)
def test_folded_text_is_lower_case_letters_without_names_and_links(text: str, folded: str) -> None:
    assert fold(text) == folded
    assert fold(folded) == folded


def test_an_identity_is_the_same_in_every_process() -> None:
    assert identity("sugeng énjing").hex() == "1d6f060fc4e420c6b4c99a803a97cd2b"  # b2sum -l 128


def test_texts_that_fold_to_nothing_are_told_apart_by_themselves() -> None:
    assert identity_of_text("😂") != identity_of_text("😢")
    assert identity_of_text("Sugeng!") == identity_of_text("sugeng") == identity("sugeng")
