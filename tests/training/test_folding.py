# ruff: noqa: RUF001 (the tests need letters that can be confused with others)
import time
import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.folding import drop_key, fingerprint, fold, identity

JOINERS = "\u200c\u200d\u2060\ufeff\u034f\u180b\u180e\ufe0e\ufe0f\U000e0101"
# On these, lower case, NFC and the removal of joiners affect one another.
ODD = [
    *("İ", "I\u0307", "ẞ", "Σ", "ς", "ΑΣ", "\u212a", "\u212b", "ϴ", "ǅ", "ŉ", "ſ", "ᾼ", "\u0345"),
    *("\u1112", "\u1161", "\u11ab", "한", "\u1100\u200d\u1161"),
    *("\u0301", "\u0323", "\u0327", "\u0344", "\u20dd", "\u0488", "\u1abe", "e\u200d\u0301"),
    *("ि", "न्", "ा", "ั", "ိ", "ꦺ", "ꦴ", "\u064e", "\u0651"),
    *("@", "@a", "@राम", "http", "https://", "https://a", "www.", "www.a"),
    *("RT", "r\u200dt", "uſer", "User", "URL", "_", "²", "½", "Ⅷ", "٣", "😂", "1\ufe0f\u20e3"),
    *(" ", "\t", "\n", "\u00a0", "\u200b", "\u3000", "\u00ad", "\x1f", "\x85", "\ud800"),
]
TEXTS = st.lists(
    st.one_of(
        st.sampled_from([*ODD, *JOINERS]),
        st.characters(),
        st.characters(categories=("Mn", "Mc", "Lu", "Lt")),
    ),
    max_size=12,
).map("".join)


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


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("दिन", "दान"),  # Hindi
        ("มา", "มี"),  # Thai
        ("ကာ", "ကိ"),  # Burmese
        ("كَتَبَ", "كُتِبَ"),  # Arabic with vowel signs
        ("ꦏꦶ", "ꦏꦸ"),  # Javanese
        ("ᬓᬶ", "ᬓᬸ"),  # Balinese
        ("ກິ", "ກຸ"),  # Lao
        ("កា", "កិ"),  # Khmer
        ("কি", "কু"),  # Bengali
        ("கி", "கு"),  # Tamil
        ("བོད", "བད"),  # Tibetan
        ("שָׁלוֹם", "שלום"),  # Hebrew with points
        ("한국", "한글"),  # Korean
        ("résumé", "resume"),
    ],
)
def test_texts_that_differ_in_vowel_signs_or_accents_are_different(first: str, second: str) -> None:
    for key in (fold, drop_key):
        assert key(first) != key(second)
        assert key(first) == key(unicodedata.normalize("NFD", first)) == key(f" {first}\n")


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("می\u200cخواهم", "میخواهم"),
        ("क्\u200dष", "क्ष"),
        ("❤️ tresna ❤", "tresna"),
        ("👩\u200d👧 ibu", "ibu"),
        ("1\ufe0f\u20e3 siji", "siji"),
        ("葛\U000e0100城", "葛城"),
        ("e\u2060\u0301\u034f", "é"),
        ("\u1100\u200d\u1161", "가"),
        ("ᠭᠠᠭᠴᠠ\u180eᠠ", "ᠭᠠᠭᠴᠠᠠ"),
        ("u\u200dser r\ufeffT apa", "apa"),
        ("\u0301 a5\u0301b", "a b"),
        ("a\u20dd\u0301", "a"),
        ("@राम_2 नमस्ते @ရန်ကုန် ဟုတ်", "नमस्ते ဟုတ်"),
    ],
)
def test_marks_count_where_a_letter_stands_before_them_and_joiners_never(
    text: str, folded: str
) -> None:
    assert fold(text) == unicodedata.normalize("NFC", folded)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("I give it 5/5", "I give it 1/5"),
        ("apik 😂", "apik 😢"),
        ("apik", "apik!"),
        ("apik ❤", "apik ❤️"),
        ("RT apik", "apik"),
        ("USER apik", "apik"),
        ("@a", "@A"),
        ("https://a.b", "https://a.c"),
        ("C", "C++"),
        ("a b", "ab"),
        ("−5", "5"),
    ],
)
def test_texts_that_differ_in_digits_emoji_or_signs_are_no_duplicates(
    first: str, second: str
) -> None:
    assert drop_key(first) != drop_key(second)
    assert fingerprint(first) != fingerprint(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Apik TENAN", "apik  tenan\n"),
        ("apik @budi https://a.b/c", "www.b.c @siti_2 apik"),
        ("caf\u00e9", "CAFE\u0301"),
        ("İstanbul", "i\u0307stanbul"),
        ("\u212a", "k"),
        ("STRAẞE", "straße"),
        ("a\u3000b", "a b"),
        ("@राम नमस्ते", "नमस्ते"),
    ],
)
def test_texts_that_differ_in_case_white_space_links_or_mentions_are_duplicates(
    first: str, second: str
) -> None:
    assert drop_key(first) == drop_key(second)
    assert fingerprint(first) == fingerprint(second)


@given(TEXTS)
def test_folding_twice_changes_nothing(text: str) -> None:
    folded = fold(text)
    assert fold(folded) == folded
    assert unicodedata.normalize("NFC", folded) == folded
    assert folded == " ".join(folded.split(" "))
    for word in folded.split():
        assert word[0].isalpha()
        assert all(unicodedata.category(mark)[0] in "LM" for mark in word)
        assert not set(word) & set(JOINERS)


@given(TEXTS)
def test_a_drop_key_is_its_own_key_and_has_the_fold_of_its_text(text: str) -> None:
    key = drop_key(text)
    assert drop_key(key) == key
    assert fold(key) == fold(text)
    assert fingerprint(key) == fingerprint(text)


@given(TEXTS, st.sampled_from(["NFC", "NFD"]), st.sampled_from([" ", "\n", "\u3000", " @a\t"]))
def test_texts_of_equal_drop_keys_have_equal_folds(
    text: str, form: Literal["NFC", "NFD"], blank: str
) -> None:
    # A text of links and mentions alone would be its own key.
    text = "a " + text
    same = blank + unicodedata.normalize(form, text)
    assert drop_key(same) == drop_key(text)
    assert fold(same) == fold(text)
    for other in (text.swapcase(), text.upper(), text.casefold()):
        assert drop_key(text) != drop_key(other) or fold(text) == fold(other)


def test_a_text_of_very_many_marks_is_folded_in_seconds() -> None:
    text = "a" + "\u0301\u0323\u0327" * 50_000
    start = time.perf_counter()
    assert fold(text) == drop_key(text)
    assert time.perf_counter() - start < 5
    short = text[:200]
    assert drop_key(short) == unicodedata.normalize("NFC", short)


def test_an_identity_is_the_same_in_every_process() -> None:
    assert identity(" Sugeng énjing").hex() == "1d6f060fc4e420c6b4c99a803a97cd2b"  # b2sum -l 128
    assert fingerprint("Sugeng  ÉNJING").hex() == "552cda48904235a2"  # b2sum -l 64
