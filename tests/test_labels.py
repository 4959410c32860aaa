"""The numbers and the order that checkpoints, bundles and files have in common."""

from __future__ import annotations

import pytest

from ssa_fast.labels import LABEL_NAMES, LABELS, MODALITIES, MODALITY_WORDS, REGIONS, SEGMENTATION_WORDS


def test_channels_are_in_the_order_that_shipped_bundles_were_trained_with() -> None:
    assert MODALITIES == ("t1n", "t1c", "t2w", "t2f")


def test_labels_are_those_of_brats_2023() -> None:
    assert LABELS == (1, 2, 3)
    assert LABEL_NAMES == {1: "NCR", 2: "ED", 3: "ET"}


def test_regions_are_the_unions_that_brats_scores() -> None:
    assert {name: set(labels) for name, labels in REGIONS.items()} == {"WT": {1, 2, 3}, "TC": {1, 3}, "ET": {3}}


@pytest.mark.parametrize(
    "words",
    [("t1n", "t1c", "t2w", "t2f"), ("t1", "t1ce", "t2", "flair"), ("t1", "t1gd", "t2", "flair")],
    ids=["2023", "2021", "TCIA"],
)
def test_words_of_every_release_name_the_four_modalities_in_channel_order(words: tuple[str, ...]) -> None:
    assert tuple(MODALITY_WORDS[word] for word in words) == MODALITIES


def test_no_word_names_a_modality_and_the_segmentation_at_once() -> None:
    assert not set(SEGMENTATION_WORDS) & set(MODALITY_WORDS)


@pytest.mark.parametrize("table", [LABEL_NAMES, REGIONS, MODALITY_WORDS])
def test_tables_cannot_be_changed_by_an_importer(table: dict[object, object]) -> None:
    with pytest.raises(TypeError):
        table["t1n"] = "t1c"
