import errno
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dmaelab.utils.errors import MachineError, UserError
from dmaelab.utils.files import atomic_write, is_still_there, remove_leftovers, write_json, write_text

ROOT = Path(__file__).parents[2]


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

    with pytest.raises(MachineError if isinstance(error, OSError) else type(error)):
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
    with pytest.raises(MachineError, match=f"{path}: the disk is full"):
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


def test_a_replaced_file_keeps_its_permissions(tmp_path):
    path = tmp_path / "private"
    path.write_text("old")
    path.chmod(0o600)
    write_text(path, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)


@pytest.mark.parametrize("target", ["file", "missing", "folder/new"])
def test_symbolic_links_are_followed_and_stay(tmp_path, target):
    (tmp_path / "file").write_text("old")
    for name, named in (("first", "second"), ("second", target)):
        (tmp_path / name).symlink_to(named)
    write_text(tmp_path / "first", "new")
    assert [(tmp_path / name).is_symlink() for name in ("first", "second", target)] == [True, True, False]
    assert (tmp_path / target).read_text() == "new"
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_circle_of_links_is_an_error(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic link"):
        write_text(tmp_path / "a", "x")


def _fifo(path):
    os.mkfifo(path)


def _disk(path):
    try:
        os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(240, 250))  # a node of a driver that does not exist
    except PermissionError:
        pytest.skip("only root can make device nodes")


def _socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize(
    ("make", "words"), [(_fifo, "is a pipe that nobody reads"), (_disk, "is a disk"), (_socket, "is a socket")]
)
def test_what_is_no_file_is_never_replaced(tmp_path, make, words, linked):
    node = path = tmp_path / "node"
    make(node)
    if linked:
        path = tmp_path / "link"
        path.symlink_to(node)
    kind = stat.S_IFMT(node.stat().st_mode)
    with pytest.raises(UserError, match=words) as error:
        write_text(path, "x")
    assert "\n" not in str(error.value)
    assert stat.S_IFMT(node.stat().st_mode) == kind
    assert names(tmp_path) == sorted({node.name, path.name})


@pytest.mark.parametrize("size", [3, 1_000_000])  # a pipe holds 65,536 bytes
def test_a_pipe_with_a_reader_gets_the_content(tmp_path, size):
    path, received = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    with os.fdopen(reader, "rb") as file:
        thread = threading.Thread(target=lambda: received.append(file.read()))
        keeper = os.open(path, os.O_WRONLY)  # a read before the first writer would see the end of the file
        thread.start()
        write_text(path, "x" * size)
        os.close(keeper)
        thread.join()
    assert received == [b"x" * size]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_character_device_gets_the_content_and_stays(tmp_path):
    leader, follower = os.openpty()
    try:
        path = tmp_path / "link"
        path.symlink_to(os.ttyname(follower))
        write_text(path, "x")
        assert os.read(leader, 10) == b"x"
        assert stat.S_ISCHR(path.stat().st_mode)
    finally:
        os.close(leader)
        os.close(follower)


@pytest.mark.parametrize("mode", ["w", "a"])
@pytest.mark.parametrize("name", ["/dev/stdout", "out.txt"])
def test_the_file_that_the_process_prints_to_is_not_replaced(tmp_path, name, mode):
    code = (
        "from dmaelab.utils.files import write_text\n"
        f"print('before'); write_text({name!r}, 'table' + chr(10)); print('after')"
    )
    with open(tmp_path / "out.txt", mode) as out:
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            stdout=out,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert (tmp_path / "out.txt").read_text() == "before\ntable\nafter\n"


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


def killed_write(path):
    """Write half of a file and leave it as a killed process does; return the temporary file."""
    found = []

    def write(file):
        file.write(b"half")
        file.flush()
        temporary = next(path.parent.glob(f".{path.name}.*.tmp"))
        found.append(temporary.with_name(temporary.name))
        os.link(temporary, path.parent / "kept")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, write)
    os.rename(path.parent / "kept", found[0])
    return found[0]


def test_only_temporary_files_of_ours_are_removed(tmp_path):
    mine = [killed_write(tmp_path / name) for name in ("step_0000004.pth", "best.pth")]
    other = killed_write(tmp_path / "header.json")
    kept = [".best.pth.tmp", "best.pth", ".best.pth.TOOLONG12.tmp", "best.pth.abcdefgh.tmp", ".tmp"]
    for name in kept:
        (tmp_path / name).write_text("not ours")
    (tmp_path / ".best.pth.abcdefgh.tmp").mkdir()
    (tmp_path / ".best.pth.abcdefgi.tmp").symlink_to(tmp_path / "best.pth")
    remove_leftovers(tmp_path, r".+\.pth")
    assert not any(path.exists() for path in mine)
    left = [*kept, other.name, ".best.pth.abcdefgh.tmp", ".best.pth.abcdefgi.tmp"]
    assert names(tmp_path) == sorted(left)
    remove_leftovers(tmp_path / "nowhere", ".*")


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("end", ["kept", "removed", "moved", "replaced", "parent"])
def test_what_was_removed_or_replaced_is_noticed(tmp_path, kind, end):
    path = tmp_path / "a/b"
    path.parent.mkdir()
    make = path.touch if kind == "file" else path.mkdir
    make()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if end in ("removed", "replaced"):
            path.unlink() if kind == "file" else path.rmdir()
        if end == "moved":
            path.rename(tmp_path / "c")
        if end == "replaced":
            make()
        if end == "parent":
            path.parent.rename(tmp_path / "c")
        assert is_still_there(descriptor, path) == (end == "kept")
    finally:
        os.close(descriptor)
