"""Names of expressions and splits, as other data sets write them."""

from __future__ import annotations

import pytest

from mien.errors import DataError
from mien.labels import (
    FER2013_ORDER,
    FERPLUS_COLUMNS,
    LABELS,
    SPLITS,
    VOTE_LABELS,
    expression,
    find_label,
    find_split,
    split,
)


def test_there_is_one_order_of_seven_and_all_others_are_permutations_of_it() -> None:
    assert sorted(LABELS) == list(LABELS)
    assert len(LABELS) == 7
    assert sorted(FER2013_ORDER) == list(LABELS)
    assert set(VOTE_LABELS) - set(LABELS) == {"contempt"}
    assert VOTE_LABELS[:7] == LABELS  # a label's number is its vote number, on which evaluation relies
    assert set(VOTE_LABELS) < set(FERPLUS_COLUMNS)


def test_fer2013_numbers_mean_what_its_authors_wrote() -> None:
    assert [FER2013_ORDER[i] for i in (0, 3, 6)] == ["angry", "happy", "neutral"]


@pytest.mark.parametrize("name", [*LABELS, *(label.upper() for label in LABELS), " Happy "])
def test_own_names_are_found_in_any_case(name: str) -> None:
    assert expression(name) == name.strip().lower()


@pytest.mark.parametrize(
    ("name", "label"),
    [("Anger", "angry"), ("joy", "happy"), ("Sadness", "sad"), ("FEARFUL", "fear"), ("surprised", "surprise")],
)
def test_other_data_sets_names_are_translated(name: str, label: str) -> None:
    assert expression(name) == label


def test_an_unknown_expression_is_refused_with_the_close_match() -> None:
    assert find_label("hapy") is None
    with pytest.raises(DataError, match=r"'hapy' is not an expression.*did you mean 'happy'.*known are angry"):
        expression("hapy")
    with pytest.raises(DataError) as error:
        expression("xyzzy")
    assert "did you mean" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Training", "train"), ("PublicTest", "validation"), ("PrivateTest", "test"), ("val", "validation")],
)
def test_splits_have_many_names(name: str, expected: str) -> None:
    assert split(name) == find_split(name) == expected


def test_every_split_is_a_name_for_itself_and_others_are_refused() -> None:
    assert [split(name) for name in SPLITS] == list(SPLITS)
    assert find_split("tset") is None
    with pytest.raises(DataError, match=r"'tset' is not a split.*did you mean 'test'.*use train, validation"):
        split("tset")
