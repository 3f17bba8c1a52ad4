import numpy as np
import pytest

from dmaelab.records.readers import find_logs, read_log, read_one_log
from dmaelab.utils.errors import UserError

HEAD = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"


@pytest.fixture
def write(tmp_path):
    def write_(text, name="log.tsv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_


def test_a_foreign_file_is_read_with_every_form_of_time(write):
    seconds_and_clock = "0\t3\t-1\t0.0\t0\t15.4\n20\t7\t7\t0.0734\t1\t0:02:31.25\n"
    clock_without_fraction_and_days = "40\t8\t8\t1.86\t1\t0:00:14\n60\t1\t2\t0.5\t0\t1 day, 1:00:01\n"
    log = read_log(write(HEAD + seconds_and_clock + clock_without_fraction_and_days))
    assert log.index.tolist() == [0, 20, 40, 60]
    assert log.prediction.tolist() == [-1, 7, 8, 2]
    assert log.radius.tolist() == [0.0, 0.0734, 1.86, 0.5]
    assert log.correct.tolist() == [False, True, True, False]
    assert log.time.tolist() == [15.4, 151.25, 14.0, 90001.0]
    assert log.header is None
    assert len(log) == 4


def test_line_ends_of_other_systems_and_a_missing_last_one(write):
    log = read_log(write((HEAD + "0\t3\t3\t0.5\t1\t1\n1\t3\t3\t0.5\t1\t2").replace("\n", "\r\n")))
    assert log.index.tolist() == [0, 1]


def test_correct_is_recomputed_from_a_running_count(write):
    path = write(HEAD + "0\t3\t3\t0.5\t1\t1\n1\t3\t3\t0.5\t2\t1\n2\t3\t1\t0.5\t2\t1\n3\t3\t3\t0.5\t3\t1\n")
    with pytest.warns(UserWarning, match="'correct' is not predict == label in 3 rows; recomputed"):
        log = read_log(path)
    assert log.correct.tolist() == [True, True, False, True]


def test_columns_that_other_tools_leave_out(write):
    log = read_log(write("idx\tlabel\tpredict\n0\t3\t3\n1\t3\t-1\n"))
    assert log.radius.tolist() == [0, 0]
    assert log.correct.tolist() == [True, False]
    assert np.isnan(log.time).all()


def test_lines_after_the_rows_are_left_out_with_a_warning(write):
    with pytest.warns(UserWarning, match="ignored the text after line 2"):
        assert len(read_log(write(HEAD + "0\t3\t3\t0.5\t1\t1\ntotal time: 5 s\n"))) == 1


def test_blank_lines_at_the_end_are_nothing(write):
    assert len(read_log(write(HEAD + "0\t3\t3\t0.5\t1\t1\n\n\n"))) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (HEAD, "has no rows"),
        ("0.0\t0.75\n0.25\t0.5\n", "lacks the columns idx, label, predict"),
        (HEAD + "0\t3\t3\t0.5\t1\t1\nrubbish\n1\t3\t3\t0.5\t1\t1\n", "line 3: not a row of 6 cells"),
        (HEAD + "0\tcat\t3\t0.5\t1\t1\n", "column 'label': .*cat"),
        (HEAD + "0\t3\t3\tnan\t1\t1\n", "column 'radius': a radius is not finite, image 0"),
        (HEAD + "0\t3\t3\t0.5\t1\tlong\n", "column 'time': .*long"),
        (
            HEAD + "7\t3\t3\t0.5\t1\t1\n8\t3\t3\t0.5\t1\t1\n7\t3\t3\t0.5\t1\t1\n",
            "image 7 has two rows, in lines 2 and 4",
        ),
        (HEAD + "7\t3\t3\t0.5\t1\t1\n07\t3\t3\t0.5\t1\t1\n", "image 7 has two rows, in lines 2 and 3"),
    ],
)
def test_files_that_are_no_log(write, text, message):
    with pytest.raises(UserError, match=message) as error:
        read_log(write(text))
    assert "\n" not in str(error.value)
    assert "log.tsv" in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="no certification log at"):
        read_log(tmp_path / "none.tsv")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(UserError, match="not a text file"):
        read_log(tmp_path / "picture.png")


def test_our_folder_is_read_at_full_precision(open_log, row):
    for part in range(2):
        with open_log(shard=(part, 2)) as log:
            for index in (part, part + 2):
                log.append(row(index, prediction=3 if part else -1, radius=(0.1 + 0.2) * part))
    read = read_log(log.folder)
    assert read.index.tolist() == [0, 1, 2, 3]
    assert read.radius.tolist() == [0, 0.1 + 0.2, 0, 0.1 + 0.2]
    assert read.correct.tolist() == [False, True, False, True]
    assert read.extra["top"].tolist() == [3, 3, 3, 3]
    assert read.extra["stop_reason"].tolist() == ["n"] * 4
    assert np.isnan(read.extra["p_upper"]).all()
    assert read.header["identity"]["sigma"] == 0.25


def test_one_shard_is_read_as_a_file_without_its_cut_line(open_log, row):
    with open_log() as log:
        log.append(row(0))
        log.append(row(1))
    log.path.write_bytes(log.path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="incomplete: 1 of 4"):
        read = read_log(log.path)
    assert read.index.tolist() == [0]
    assert read.identity["sigma"] == 0.25  # the header beside it counts for one shard as well


def test_rows_of_images_outside_the_certification_are_refused(open_log, row):
    with open_log(indices=[0, 1, 2, 3]) as log:
        for index in (0, 1, 2, 3, 1700):
            log.append(row(index))
    for path in (log.folder, log.path):
        with pytest.raises(UserError, match="1 rows are of images outside the certification: 1700; remove them"):
            read_log(path)


def test_an_incomplete_folder_and_repeated_images_are_reported(open_log, row):
    with open_log() as log:
        log.append(row(7))
    (log.folder / "shard-000-of-002.tsv").write_bytes(log.path.read_bytes())
    with (
        pytest.warns(UserWarning, match="incomplete: 1 of 4"),
        pytest.warns(UserWarning, match="1 images are recorded twice"),
    ):
        assert len(read_log(log.folder)) == 1


def test_an_empty_folder_has_no_rows(open_log):
    with open_log() as log:
        pass
    log.path.unlink()
    with pytest.raises(UserError, match="has no rows"):
        read_log(log.folder)


def test_logs_are_found_from_the_run_directory_its_certify_folder_or_themselves(open_log, tmp_path):
    folders = [tmp_path / "run" / "certify" / name for name in ("a", "b")]
    for folder in folders:
        open_log(folder.relative_to(tmp_path)).close()
    assert find_logs(tmp_path / "run") == find_logs(tmp_path / "run" / "certify") == folders
    assert find_logs(folders[0]) == folders[:1]
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match=r"no certification log in .*other"):
        find_logs(tmp_path / "other")


def test_norm_is_the_headers_and_l2_without_one(open_log, row, write):
    with open_log(identity={"norm": "l1", "sigma": 0.5}) as log:
        log.append(row(0))
    assert (read_log(log.folder).norm, read_log(log.folder).radius_column) == ("l1", "radius_full")
    foreign = read_log(write(HEAD + "0\t3\t3\t0.5\t1\t1\n"))
    assert (foreign.norm, foreign.radius_column, foreign.identity) == ("l2", "radius", {})


def test_some_rows_of_a_log(open_log, row):
    with open_log(identity={"sigma": 0.25}) as log:
        for index in (3, 5, 8):
            log.append(row(index, radius=index / 10))
    read = read_log(log.folder)
    assert read.take(np.array([2, 0])).index.tolist() == [8, 3]
    some = read.take(read.radius > 0.4)
    assert (some.index.tolist(), some.radius.tolist(), some.extra["top"].tolist(), len(some)) == (
        [5, 8],
        [0.5, 0.8],
        [3, 3],
        2,
    )
    assert some.header == read.header


def test_the_one_log_of_a_run(open_log, row, tmp_path):
    for name in ("run/certify/a", "run/certify/b"):
        with open_log(name, identity={}) as log:
            log.append(row(4))
    assert read_one_log(tmp_path / "run" / "certify" / "b").index.tolist() == [4]
    with pytest.raises(UserError, match=r"run contains 2 logs, name one of them: .*certify/a, .*certify/b"):
        read_one_log(tmp_path / "run")
