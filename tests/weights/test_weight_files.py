"""Files: what is read, and what is refused."""

import argparse
import pickle
import sys
from pathlib import Path

import pytest
import torch
from iopath.common.file_io import PathHandler, PathManager
from weights_toolbox import refused

from dmaelab.utils import paths
from dmaelab.weights import read_file, read_weights


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ({}, "nothing"),
        ({"model": 3, "epoch": 1}, "model, epoch"),
        ({"a": torch.ones(1), "b": "x"}, "a, b"),
        ({"model": {}}, "model"),
    ],
)
def test_a_file_without_weights_is_named(content, shown):
    assert f"holds no weights: neither tensors by name nor an entry 'model' of such ({shown})" in refused(
        read_weights, content
    )


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"model": {"a": torch.arange(500.0)}, "step": 3, "name": "x"}, path)
    return path


def test_a_file_gives_back_what_was_saved(saved):
    content = read_file(str(saved))
    assert content["step"] == 3
    assert torch.equal(content["model"]["a"], torch.arange(500.0))


def test_a_missing_file(tmp_path):
    for path in (tmp_path / "no.pth", tmp_path):
        assert refused(read_file, path) == f"{path}: there is no such file of weights"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_named(saved, share):
    raw = saved.read_bytes()
    saved.write_bytes(raw[: int(share * len(raw))])
    message = refused(read_file, saved)
    assert message.startswith(f"{saved}: ")
    assert "truncated or not a checkpoint" in message


@pytest.mark.parametrize(
    "content", [b"hello\n", b"t.", b"u.", b"G1.", b"0.", bytes(range(256)), b"PK\x03\x04 but no archive"]
)
def test_other_files_are_no_checkpoints(saved, content):
    saved.write_bytes(content)
    assert "not a " in refused(read_file, saved)


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))], ids=["torch", "pickle"]
)
def test_pickled_code_is_never_run(saved, tmp_path, save):
    save({"model": {"a": torch.ones(2)}, "args": Payload(tmp_path / "executed")}, saved)
    message = refused(read_file, saved)
    assert message.startswith(str(saved))
    assert not (tmp_path / "executed").exists()


def test_a_trainers_file_with_its_arguments_is_read(saved):
    """The official trainers save an argparse.Namespace beside the weights."""
    content = {"model": {"a": torch.ones(2)}, "epoch": 3, "args": argparse.Namespace(lr=1e-3)}
    torch.save(content, saved)
    assert read_file(saved)["args"] == content["args"]


def test_arguments_that_hide_code_are_refused(saved, tmp_path):
    """The allowed class opens no door for others inside it, and is allowed for our reader alone."""
    torch.save({"model": {"a": torch.ones(2)}, "args": argparse.Namespace(x=Payload(tmp_path / "executed"))}, saved)
    assert "holds pickled Python objects, which could run code" in refused(read_file, saved)
    assert not (tmp_path / "executed").exists()
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


def test_a_class_that_the_caller_allowed_stays_allowed(saved):
    with torch.serialization.safe_globals([argparse.Namespace]):
        read_file(saved)
        assert argparse.Namespace in torch.serialization.get_safe_globals()


def test_safetensors_are_read(saved):
    safetensors = pytest.importorskip("safetensors.torch")
    path = saved.with_suffix(".safetensors")
    safetensors.save_file({"a": torch.arange(500.0)}, path)
    assert torch.equal(read_file(path)["model"]["a"], torch.arange(500.0))
    for damaged in (path.read_bytes()[:300], b"", b"hello"):
        path.write_bytes(damaged)
        assert f"{path}: truncated or not a safetensors file" in refused(read_file, path)


def test_without_the_package_safetensors_are_refused_with_the_way_out(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    saved.with_suffix(".safetensors").write_bytes(b"")
    assert "pip install safetensors" in refused(read_file, saved.with_suffix(".safetensors"))


def test_a_bare_tensor_is_no_dictionary(saved):
    torch.save(torch.ones(3), saved)
    assert "holds a Tensor, not a dictionary of weights" in refused(read_file, saved)


def test_a_registered_scheme_is_read_through_its_handler(saved, monkeypatch):
    class Shelf(PathHandler):
        def _get_supported_prefixes(self):
            return ["shelf://"]

        def _get_local_path(self, path, force=False, **kwargs):
            return str(saved.parent / path.removeprefix("shelf://"))

    monkeypatch.setattr(paths, "PATHS", PathManager())
    paths.PATHS.register_handler(Shelf())
    assert read_file("shelf://model.pth")["step"] == 3
    assert "no handler is registered for other://" in refused(read_file, "other://model.pth")
