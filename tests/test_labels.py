"""Names of expressions and splits, as other data sets write them."""

from __future__ import annotations

import pytest

from mien.columns import table_columns
from mien.errors import DataError
from mien.labels import (
    FER2013_ORDER,
    FERPLUS_COLUMNS,
    LABELS,
    MAX_LABELS,
    RESERVED,
    SPLITS,
    VOTE_LABELS,
    expression,
    find_label,
    find_split,
    label_set,
    ordered,
    split,
)
from mien.output.tables import COLUMNS


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


def test_labels_of_ones_own_have_one_order() -> None:
    assert label_set(["Tired", "sad", " Open  Mouth", "angry"]) == ("angry", "sad", "open_mouth", "tired")
    assert label_set(reversed(LABELS)) == LABELS
    assert label_set(VOTE_LABELS) == ordered(reversed(VOTE_LABELS)) == VOTE_LABELS
    assert len(label_set(f"label{k}" for k in range(MAX_LABELS))) == MAX_LABELS


def test_no_label_can_be_taken_for_another_column_of_a_table() -> None:
    assert set(COLUMNS) - {*LABELS, *(f"raw_{label}" for label in LABELS)} <= RESERVED
    assert len(set(table_columns(("calm", "tired")))) == len(table_columns(("calm", "tired")))
    for name in (*RESERVED, "raw_calm"):
        with pytest.raises(DataError, match="is no name for a label, since"):
            label_set(["calm", name])


@pytest.mark.parametrize("names", [[], ["calm"], [f"label{k}" for k in range(MAX_LABELS + 1)]])
def test_too_few_or_too_many_labels(names: list[str]) -> None:
    with pytest.raises(DataError, match=rf"a set has 2 to 32 labels, not {len(names)} \("):
        label_set(names)


def test_a_name_means_a_label_of_the_set_before_one_of_ours() -> None:
    own = ("happy", "calm", "tired")
    assert expression("Calm", own) == "calm", "which would be neutral among ours"
    assert expression("joy", own) == "happy"
    assert (find_label("anger", own), expression("anger", own)) == (None, "angry"), "known, but none of the labels"
    with pytest.raises(DataError, match="'tierd' is none of the labels \\(did you mean 'tired'"):
        expression("tierd", own)
