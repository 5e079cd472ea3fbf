"""Shares of a (fake) card's memory."""

from unittest import mock

import pynvml
import pytest

from tests.faults.fakes import card
from training.device import cap_memory, context_memory, kind_of_device, most_reserved_memory
from training.errors import InputError

GIB = 2**30


def test_a_share_is_capped_at_what_is_left_of_it_beside_the_process_s_own_context() -> None:
    with card(total=80 * GIB, context=GIB // 2, others=40 * GIB) as capped:
        cap_memory(0.25)
    assert capped == [pytest.approx(0.25 - 0.5 / 80)]


def test_four_shares_with_their_contexts_fill_a_card_and_no_more() -> None:
    with card(total=8 * GIB, context=GIB // 4, others=0) as capped:
        cap_memory(0.25)
    assert 4 * (capped[0] * 8 * GIB + GIB // 4) == pytest.approx(8 * GIB)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_whole_card_and_none_are_not_capped(share: float) -> None:
    with card(total=80 * GIB, context=GIB // 2, others=0) as capped:
        cap_memory(share)
    assert capped == []


def test_without_a_card_nothing_is_capped_or_told() -> None:
    cap_memory(0.25)
    assert (kind_of_device(0.25), most_reserved_memory()) == ("cpu", None)


@pytest.mark.parametrize(("others", "taken"), [(0, GIB // 2), (30 * GIB, GIB)])
def test_a_container_that_does_not_see_its_process_takes_at_most_a_gibibyte_for_its_context(
    others: int, taken: int
) -> None:
    with card(total=80 * GIB, context=GIB // 2, others=others, sees_itself=False):
        assert context_memory() == taken


def test_a_driver_that_tells_nothing_is_no_error() -> None:
    silent = mock.patch.object(pynvml, "nvmlInit", side_effect=pynvml.NVMLError(1))
    with card(total=80 * GIB, context=GIB // 2, others=0), silent:
        assert context_memory() == GIB // 2


def test_a_share_that_the_context_alone_takes_is_an_error() -> None:
    with (
        card(total=8 * GIB, context=GIB, others=0) as capped,
        pytest.raises(InputError, match=r"gpus_per_trial is 0\.1, .* \(819 MiB\) .* \(1,024 MiB\)"),
    ):
        cap_memory(0.1)
    assert capped == []


def test_a_part_of_a_card_is_a_kind_of_its_own() -> None:
    with card(total=80 * GIB, context=GIB // 2, others=0):
        assert kind_of_device() == "Fake GPU"
        assert kind_of_device(0.25) == "0.25 of Fake GPU"
        assert most_reserved_memory() == 2 * (GIB // 20)
