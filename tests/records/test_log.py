import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from dmaelab.records.folders import read_folders, read_header
from dmaelab.utils.errors import MachineError, UserError

ROOT = Path(__file__).parents[2]
IDENTITY = {
    "sigma": 0.25,
    "alpha": 0.001,
    "certifier": {"name": "cohen"},
    "shape": (1, 8, 8),
    "subset": {"count": 4, "hash": "ab"},
}


def test_a_log_is_a_header_and_rows(open_log, row):
    with open_log(shard=(0, 2)) as log:
        log.append(row(5))
    header = read_header(log.folder)
    assert list(header) == ["identity", "identity_hash", "context", "columns", "indices"]
    assert header["identity"]["shape"] == [1, 8, 8]
    assert header["columns"][:6] == ["idx", "label", "predict", "radius", "correct", "time"]
    lines = (log.folder / "shard-000-of-002.tsv").read_text().splitlines()
    assert lines[0].split("\t") == header["columns"]
    assert lines[1].startswith("5\t3\t3\t0.300000\t1\t0.500000\t3\t0.30000000000000004\t")


def test_a_row_is_in_the_file_when_append_returns(open_log, row):
    with open_log() as log:
        for index in (7, 2):
            log.append(row(index))
            assert log.path.read_text().splitlines()[-1].startswith(f"{index}\t")


def test_restart_knows_what_is_done_for_any_number_of_shards(open_log, row):
    for part in range(3):
        with open_log(shard=(part, 3)) as log:
            log.append(row(part))
    with open_log(shard=(1, 2)) as log:
        assert log.done.keys() == {0, 1, 2}
        assert log.done[1]["radius_full"] == 0.1 + 0.2
        log.append(row(3))
        assert log.done[3]["idx"] == 3
        with pytest.raises(UserError, match="image 2 already has a row"):
            log.append(row(2))
    assert list(read_folders([log.folder]).rows) == [0, 1, 2, 3]


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_a_cut_line_is_ignored_by_readers_and_removed_on_restart(open_log, row, cut):
    with open_log() as log:
        log.append(row(0))
        whole = log.path.read_bytes()
        log.append(row(1))
    torn = log.path.read_bytes()[:-cut]
    log.path.write_bytes(torn)
    assert list(read_folders([log.folder]).rows) == [0]
    assert log.path.read_bytes() == torn  # a reader changes nothing
    with open_log() as log:
        assert log.done.keys() == {0}
        assert log.path.read_bytes() == whole
        log.append(row(1))
    assert list(read_folders([log.folder]).rows) == [0, 1]


def test_a_cut_line_of_another_shard_is_left_alone(open_log, row):
    with open_log(shard=(0, 2)) as other:
        other.append(row(0))
        other.append(row(1))
    torn = other.path.read_bytes()[:-3]
    other.path.write_bytes(torn)
    with open_log(shard=(1, 2)) as log:
        assert log.done.keys() == {0}
    assert other.path.read_bytes() == torn


def test_a_cut_line_of_columns_is_written_again(open_log, row):
    with open_log() as log:
        pass
    log.path.write_bytes(log.path.read_bytes()[:10])
    with open_log() as log:
        log.append(row(0))
    assert list(read_folders([log.folder]).rows) == [0]


def test_another_identity_is_refused_with_the_differing_keys(open_log, row):
    with open_log() as log:
        log.append(row(0))
    before = log.path.read_bytes()
    other = IDENTITY | {"sigma": 0.5, "certifier": {"name": "cohen", "seed": 1}}
    with pytest.raises(UserError) as error:
        open_log(identity=other)
    assert str(error.value) == (
        f"{log.folder} contains another certification: certifier.seed is absent in the folder, 1 now; sigma is 0.25 in"
        " the folder, 0.5 now; to keep it, choose another certify.name=... (in Python another out=...), else remove the"
        " folder"
    )
    assert log.path.read_bytes() == before


def test_a_start_that_failed_before_its_first_row_makes_room(open_log, row):
    open_log(shard=(0, 2)).close()
    open_log(shard=(1, 2)).close()
    with open_log(identity={"sigma": 0.5}) as log:
        assert read_header(log.folder)["identity"] == {"sigma": 0.5}
        assert [path.name for path in log.folder.glob("shard-*")] == ["shard-000-of-001.tsv"]
        with pytest.raises(UserError, match="contains another certification"):
            open_log()  # no row yet, but a process that is about to write one
        log.append(row(1))
    with pytest.raises(UserError, match="contains another certification"):
        open_log()


def test_other_columns_are_refused(open_log, row):
    with open_log() as log:
        log.append(row(1))
    with pytest.raises(UserError, match=r"columns is \['idx', .* in the folder, \['idx', .*, 'time', 'mine'\] now"):
        open_log(columns=("mine",))


def test_another_context_is_reported_but_the_command_may_change(open_log):
    open_log().close()
    open_log(context={"command": ["other"], "torch": "2.0"}).close()
    with pytest.warns(UserWarning, match=r"another context: torch is '2.0' in the folder, '2.1' now"):
        open_log(context={"command": ["certify"], "torch": "2.1"}).close()


def test_a_shard_has_one_writer_at_a_time(open_log, row):
    with open_log() as log:
        with pytest.raises(UserError, match="being written by another process"):
            open_log()
        open_log(shard=(1, 2)).close()
        log.append(row(0))
    open_log().close()


def test_a_killed_writer_leaves_whole_rows_and_no_lock(open_log, row, tmp_path):
    script = textwrap.dedent(f"""
        import math, sys
        sys.path.insert(0, {str(ROOT)!r})
        from dmaelab.records.log import CertificationLog
        from dmaelab.records.row import make_row
        log = CertificationLog({str(tmp_path / "killed")!r}, identity={{"sigma": 1}}, context={{}}, columns=())
        for index in range(10**9):
            log.append(make_row(index, 1, 1, math.pi, 0.0, {{}}))
            if index == 20: print("go", flush=True)
    """)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"go\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with open_log("killed", identity={"sigma": 1}, context={}, columns=()) as log:
        assert len(log.done) > 20
        assert all(values["radius"] == 3.141592 for values in log.done.values())
        assert list(log.done) == list(range(len(log.done)))


class _FullDisk:
    """A file whose device has room for a few more bytes."""

    def __init__(self, file, room, error):
        self._file, self._room, self._error = file, room, error

    def write(self, data):
        if self._error:
            raise self._error
        return self._file.write(data[: self._room])

    def __getattr__(self, name):
        return getattr(self._file, name)


@pytest.mark.parametrize("error", [None, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])
def test_a_full_disk_leaves_the_log_whole(open_log, row, error):
    with open_log() as log:
        log.append(row(0))
        before, file = log.path.read_bytes(), log._file
        log._file = _FullDisk(file, 9, error)
        with pytest.raises(MachineError, match=rf"{log.path}: the disk is full .* free\): make room on it"):
            log.append(row(1))
        assert log.path.read_bytes() == before
        log._file = file
        log.append(row(1))
    assert list(read_folders([log.folder]).rows) == [0, 1]


def test_headers_that_are_missing_or_damaged(open_log):
    with open_log() as log:
        path = log.folder / "header.json"
    path.write_text('{"identity": {')
    with pytest.raises(UserError, match="damaged"):
        open_log()
    path.write_text(json.dumps({"identity": {}}))
    with pytest.raises(UserError, match="lacks identity"):
        open_log()
    path.write_text(json.dumps({"identity": {}, "identity_hash": "", "context": {}, "columns": 6}))
    with pytest.raises(UserError, match="damaged: identity and context should be mappings, columns a list"):
        read_folders([log.folder])
    path.unlink()
    with pytest.raises(UserError, match=r"not a certification log: it is not a folder with a header\.json"):
        read_folders([log.folder])


def test_damaged_rows_are_named(open_log, row):
    with open_log() as log:
        log.append(row(0))
    line = log.path.read_text().splitlines()[1]
    for damage in ("x" + line, line + "\t1", line):
        log.path.write_text("\t".join(log.columns) + "\n" + line + "\n" + damage + "\n")
        with pytest.raises(UserError, match=r"shard-000-of-001\.tsv, line 3: damaged, repeated or not a row"):
            read_folders([log.folder])
    log.path.write_text("idx\tlabel\n")
    with pytest.raises(UserError, match="other columns"):
        read_folders([log.folder])


@pytest.mark.parametrize("again", [False, True])
def test_a_log_that_is_removed_gets_no_further_row_and_is_not_made_again(open_log, row, again):
    log = open_log()
    log.append(row(1))
    os.rename(log.folder, log.folder.with_name("gone"))
    if again:
        log.folder.mkdir()
        log.path.touch()
    with log, pytest.raises(UserError, match=r"was removed or replaced while .*: repeat the command to certify the"):
        log.append(row(2))
    assert log.folder.exists() == again
    assert not again or log.path.read_bytes() == b""


def test_half_a_header_of_a_killed_process_is_removed(open_log):
    with open_log() as log:
        folder = log.folder
    (folder / ".header.json.abcdefgh.tmp").write_text("half")
    (folder / ".attack.json.abcdefgh.tmp").write_text("of another tool, which may be writing it now")
    with open_log():
        pass
    assert [path.name for path in folder.glob(".*.tmp")] == [".attack.json.abcdefgh.tmp"]
