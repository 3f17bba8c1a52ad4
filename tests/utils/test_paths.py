import os

import pytest

from dmaelab.utils.errors import UserError
from dmaelab.utils.paths import data_root, local_path


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch):
    monkeypatch.delenv("DMAELAB_DATA", raising=False)


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_unknown_scheme_is_refused(tmp_path):
    assert local_path(tmp_path) == tmp_path
    with pytest.raises(UserError, match="no handler is registered for s3://") as error:
        local_path("s3://bucket/data")
    one_line(error)


def test_root_comes_from_the_environment(tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    monkeypatch.setenv("DMAELAB_DATA", str(tmp_path))
    assert data_root("digits") == tmp_path / "digits"


def test_relative_root_is_looked_up_here_then_in_the_data_folder(tmp_path, monkeypatch):
    here, data = tmp_path / "here", tmp_path / "data"
    (data / "set").mkdir(parents=True)
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("DMAELAB_DATA", str(data))
    assert data_root("image_folder", "set") == data / "set"
    (here / "set").mkdir()
    assert data_root("image_folder", "set").resolve() == here / "set"


def test_no_root_at_all_says_what_to_set():
    with pytest.raises(UserError, match="DMAELAB_DATA") as error:
        data_root("cifar10")
    assert "'cifar10'" in one_line(error)


def test_missing_root_names_every_place(tmp_path, monkeypatch):
    monkeypatch.setenv("DMAELAB_DATA", str(tmp_path))
    with pytest.raises(UserError, match="there is no folder") as error:
        data_root("cifar10", "nowhere")
    assert str(tmp_path / "nowhere") in one_line(error)


def test_unreadable_root(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(UserError, match=r"cannot read its root .* \(Permission denied\)") as error:
        data_root("cifar10", str(tmp_path))
    one_line(error)


def test_root_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot read its root"):
        data_root("cifar10", str(tmp_path / "file"))


def test_create_makes_the_folder_of_a_download(tmp_path):
    assert data_root("cifar10", str(tmp_path / "a" / "b"), create=True).is_dir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot read its root"):
        data_root("cifar10", str(tmp_path / "file" / "b"), create=True)
