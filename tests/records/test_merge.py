import pytest

from dmaelab.records.folders import merge_folders, read_folders, read_header
from dmaelab.records.indices import subset
from dmaelab.records.merge import Table, check_complete, identity_hash, merge_tables
from dmaelab.utils.errors import UserError

IDENTITY = {"sigma": 0.25}
COLUMNS = ("idx", "predict", "time")


def table(source, *rows):
    return Table(source, COLUMNS, {int(cells[0]): cells for cells in rows})


def test_rows_are_merged_in_the_order_of_the_images():
    merged = merge_tables("log", [table("a", ("4", "1", "0.1"), ("2", "1", "0.1")), table("b", ("3", "0", "0.2"))])
    assert list(merged.rows) == [2, 3, 4]
    assert merged.columns == COLUMNS
    assert merged.repeated == 0


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
    with pytest.raises(
        UserError,
        match=r"different certifications: alpha is .* absent in the second; .*sigma is 0.25 in the first, 0.5",
    ):
        read_folders([first.folder, second.folder])


def test_identity_hash_depends_on_values_alone():
    assert identity_hash({"a": 1, "b": (1, 2)}) == identity_hash({"b": [1, 2], "a": 1})
    assert identity_hash({"a": 1}) != identity_hash({"a": 2})
    for bad in ({"a": float("nan")}, {"a": object()}):
        with pytest.raises(UserError, match="plain finite values"):
            identity_hash(bad)


def test_missing_and_foreign_images_are_named():
    rows = table("log", ("2", "1", "0.1"), ("3", "1", "0.1"))
    check_complete(rows, [2, 3])
    with pytest.raises(UserError, match=r"log: 3 of 5 images have no row: 4, 5, 6; certify"):
        check_complete(rows, range(2, 7))
    with pytest.raises(UserError, match=r"1 rows are of images outside the certification: 3"):
        check_complete(rows, [2])


def test_merged_folders_are_one_whole_log(open_log, row, tmp_path):
    for name, indices in (("a", (3, 1)), ("b", (2, 1))):
        with open_log(name, indices=[1, 2, 3], identity={**IDENTITY, "subset": subset([1, 2, 3])}) as log:
            for index in indices:
                log.append(row(index, seconds=len(name)))
    table = merge_folders([tmp_path / "a", tmp_path / "b"], tmp_path / "whole")
    assert (list(table.rows), table.repeated) == ([1, 2, 3], 1)
    assert read_folders([tmp_path / "whole"]).rows == table.rows
    assert read_header(tmp_path / "whole") == read_header(tmp_path / "a")
    with pytest.raises(UserError, match="is not empty: choose a new folder"):
        merge_folders([tmp_path / "a", tmp_path / "b"], tmp_path / "whole")
    with pytest.raises(UserError, match=r"1 of 3 images have no row: 2"):
        merge_folders([tmp_path / "a"], tmp_path / "part")
    assert not (tmp_path / "part").exists()


def test_runs_of_other_settings_are_not_merged(open_log, row, tmp_path):
    for name, sigma in (("a", 0.25), ("b", 0.5)):
        with open_log(name, identity={"sigma": sigma, "subset": subset([1])}, indices=[1]) as log:
            log.append(row(1))
    with pytest.raises(UserError, match=r"different certifications: sigma is 0.25 in the first, 0.5 in the second"):
        merge_folders([tmp_path / "a", tmp_path / "b"], tmp_path / "whole")
