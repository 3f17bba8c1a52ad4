import numpy as np
import pytest
import torch

from dmaelab.data import build_dataset, select_indices
from dmaelab.utils.errors import UserError


@pytest.mark.parametrize(
    ("subset", "expected"),
    [
        (None, list(range(10))),
        ({"stride": 4}, [0, 4, 8]),
        ({"count": 3}, [0, 3, 6]),
        ({"count": 10}, list(range(10))),
        ([7, 2], [7, 2]),
        (range(2, 4), [2, 3]),
    ],
)
def test_select_indices(subset, expected):
    assert select_indices(10, subset) == expected


def test_evenly_spaced_images_of_a_sorted_set_take_every_class_alike():
    indices = np.array(select_indices(10_000, {"count": 200}))
    assert np.bincount(indices // 1000).tolist() == [20] * 10


@pytest.mark.parametrize(
    "subset",
    [
        *[
            {"stride": 0},
            {"count": 11},
            {"count": 2.5},
            {"count": True},
            {"each": 2},
            {"stride": 2, "n": 2},
            {"stride": 2, "seed": 1},
        ],
        *[
            {"random": 0},
            {"random": 11, "seed": 1},
            {"random": 2, "seed": 0.5},
            {"seed": 1},
            {"random": 2, "stratified": 2},
            {},
        ],
        *[[10], [-1], [1, 1], [], "all", 5],
    ],
)
def test_select_indices_refuses(subset):
    with pytest.raises(UserError, match="does not fit a data set of 10 images") as error:
        select_indices(10, subset)
    assert "\n" not in str(error.value)


def test_a_random_subset_is_a_function_of_its_seed_and_favours_no_image():
    subsets = [select_indices(40, {"random": 10, "seed": seed}) for seed in range(400)]
    assert all(subset == sorted(set(subset)) and len(subset) == 10 for subset in subsets)
    assert subsets[0] == select_indices(40, {"random": 10}) != subsets[1]
    times = np.bincount(np.concatenate(subsets), minlength=40)  # binomial(400, 1/4): mean 100, standard deviation 8.7
    assert 60 < times.min() <= times.max() < 140


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
@pytest.mark.parametrize(
    ("number", "expected"), [(3, [1, 1, 1]), (10, [4, 2, 4]), (25, [11, 2, 12]), (42, [20, 2, 20])]
)
def test_a_stratified_subset_takes_classes_alike_as_far_as_they_go(kind, number, expected):
    labels = [0] * 20 + [1] * 2 + [2] * 20
    np.random.default_rng(0).shuffle(labels)
    chosen = select_indices(42, {"stratified": number, "seed": 3}, kind(labels))
    assert chosen == sorted(set(chosen))
    counts = np.bincount(np.array(labels)[chosen], minlength=3)
    assert sorted(counts) == sorted(expected)
    assert counts[1] == expected[1]


def test_a_stratified_subset_takes_any_image_and_any_class_for_the_rest():
    labels = [0, 0, 0, 1, 1, 1]
    subsets = [select_indices(6, {"stratified": 3, "seed": seed}, labels) for seed in range(60)]
    assert {index for subset in subsets for index in subset} == set(range(6))
    assert {sum(labels[index] for index in subset) for subset in subsets} == {1, 2}


def test_a_stratified_subset_needs_labels():
    with pytest.raises(UserError, match=r"^subset=\{'stratified': 3\} needs the labels"):
        select_indices(10, {"stratified": 3, "seed": 0})


def test_the_stride_of_the_paper_takes_the_first_image_of_each_class(imagenet_root):
    val = build_dataset("imagenet", root=str(imagenet_root), split="val")  # two a class, as 50 are in the real one
    assert [val.files[index].split("/")[-2:] for index in select_indices(len(val), {"stride": 2})] == [
        ["n01440764", "a.JPEG"],
        ["n01443537", "a.JPEG"],
    ]
