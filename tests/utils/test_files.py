import errno
import json
import os
import stat

import pytest

from dmaelab.utils.errors import UserError
from dmaelab.utils.files import atomic_write, write_json, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_write_makes_the_folder_and_replaces_the_file(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    atomic_write(path, lambda file: file.write(b"old"))
    atomic_write(str(path), lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["file"]


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path} is a folder: name a file"):
        write_text(tmp_path, "text")


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("x"), KeyboardInterrupt()]
)
def test_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write(file):
        file.write(b"half of the n")
        raise error

    with pytest.raises(type(error)):
        atomic_write(path, write)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_failing_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space"):
        atomic_write(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_the_content_is_on_disk_before_the_name_changes(tmp_path, monkeypatch):
    order = []
    for step in ("fsync", "replace"):
        real = getattr(os, step)
        monkeypatch.setattr(os, step, lambda *args, step=step, real=real: (order.append(step), real(*args))[1])
    atomic_write(tmp_path / "file", lambda file: file.write(b"new"))
    assert order == ["fsync", "replace"]


def test_permissions_follow_the_umask(tmp_path):
    mask = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "x")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_text_and_json(tmp_path):
    write_text(tmp_path / "text", "ä = 0.25\n")
    assert (tmp_path / "text").read_bytes() == "ä = 0.25\n".encode()
    value = {"z": [1, 2.5, None], "a": {"ä": "ü"}}
    write_json(tmp_path / "value.json", value)
    text = (tmp_path / "value.json").read_text(encoding="utf-8")
    assert list(json.loads(text).items()) == list(value.items())
    assert "ä" in text
    assert text.endswith("}\n")


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "value.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "value.json", {"x": object()})
    assert (tmp_path / "value.json").read_text() == "1\n"
