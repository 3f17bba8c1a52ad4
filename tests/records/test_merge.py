import pytest

from dmaelab.records.log import read_folders
from dmaelab.records.merge import Table, differences, gaps, identity_hash, merge_tables
from dmaelab.utils.errors import UserError

COLUMNS = ("idx", "predict", "time")


def table(source, *rows):
    return Table(source, COLUMNS, {int(cells[0]): cells for cells in rows})


def test_rows_are_merged_in_the_order_of_the_images():
    merged = merge_tables("log", [table("a", ("4", "1", "0.1"), ("2", "1", "0.1")), table("b", ("3", "0", "0.2"))])
    assert list(merged.rows) == [2, 3, 4]
    assert merged.columns == COLUMNS
    assert merged.repeated == 0
    assert gaps(merged, range(2, 7)) == [5, 6]


def test_rows_equal_but_for_time_are_one():
    merged = merge_tables("log", [table("a", ("4", "1", "0.1")), table("b", ("4", "1", "0.9"))])
    assert merged.rows == {4: ("4", "1", "0.1")}
    assert merged.repeated == 1


def test_rows_that_differ_are_refused():
    with pytest.raises(UserError, match="image 4 differs between a and b in predict"):
        merge_tables("log", [table("a", ("4", "1", "0.1")), table("b", ("4", "0", "0.1"))])


def test_tables_with_other_columns_are_refused():
    other = Table("b", ("idx", "predict"), {5: ("5", "1")})
    with pytest.raises(UserError, match="b has other columns than the rest of log"):
        merge_tables("log", [table("a", ("4", "1", "0.1")), other])


def test_folders_of_one_identity_are_merged(open_log, row):
    for name, indices in (("a", (3, 1)), ("b", (2, 1))):
        with open_log(name) as log:
            for index in indices:
                log.append(row(index, seconds=len(name)))
    merged = read_folders([log.folder.parent / "a", log.folder])
    assert list(merged.rows) == [1, 2, 3]
    assert merged.repeated == 1


def test_folders_of_different_identities_are_refused(open_log):
    with open_log("a") as first, open_log("b", identity={"sigma": 0.5}) as second:
        pass
    with pytest.raises(UserError, match=r"different certifications: alpha is .* absent here; .*sigma is 0.25 there, 0.5 here"):
        read_folders([first.folder, second.folder])


def test_identity_hash_depends_on_values_alone():
    assert identity_hash({"a": 1, "b": (1, 2)}) == identity_hash({"b": [1, 2], "a": 1})
    assert identity_hash({"a": 1}) != identity_hash({"a": 2})
    for bad in ({"a": float("nan")}, {"a": object()}):
        with pytest.raises(UserError, match="plain finite values"):
            identity_hash(bad)


def test_differences_name_nested_keys_and_absent_ones():
    there, here = {"a": {"b": 1, "c": 2}, "d": None}, {"a": {"b": 1, "c": 3}}
    assert differences(there, here) == ["a.c is 2 there, 3 here", "d is null there, absent here"]
    assert differences(there, there) == []
