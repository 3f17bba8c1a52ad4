"""Differences of plain mappings."""

from dmaelab.utils.differences import ABSENT, Difference, differences, listed


def test_nested_keys_and_absent_ones():
    there, here = {"a": {"b": 1, "c": 2}, "d": None}, {"a": {"b": 1, "c": 3}}
    assert differences(there, here) == [Difference("a.c", 2, 3), Difference("d", None, ABSENT)]
    assert differences(there, there) == []


def test_a_mapping_in_the_place_of_a_value_is_one_difference():
    assert differences({"a": {"b": 1}}, {"a": 1}) == [Difference("a", {"b": 1}, 1)]
    assert differences({"a": {}}, {"a": {"b": 1}}) == [Difference("a.b", ABSENT, 1)]


def test_lists_of_mappings_are_compared_item_by_item_and_others_as_a_whole():
    there, here = {"steps": [{"n": 1}, {"n": 2}], "shape": [3, 8]}, {"steps": [{"n": 1}, {"n": 3}], "shape": [1, 8]}
    assert differences(there, here) == [Difference("shape", [3, 8], [1, 8]), Difference("steps.1.n", 2, 3)]
    assert [one.key for one in differences({"steps": [{"n": 1}]}, {"steps": []})] == ["steps"]


def test_words():
    difference = Difference("certifier.name", "cohen", ABSENT)
    assert str(difference) == "certifier.name is 'cohen' there, absent here"
    assert difference.between("in A", "in B") == "certifier.name is 'cohen' in A, absent in B"
    assert listed([difference, Difference("n", 1, 2)]) == f"{difference}; n is 1 there, 2 here"
    assert listed([Difference("n", 1, 2)], "in A", "in B") == "n is 1 in A, 2 in B"
