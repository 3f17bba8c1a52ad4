import pytest

from dmaelab.config import get_config, list_configs, zoo
from dmaelab.utils.errors import ConfigError


@pytest.fixture
def folders(write, tmp_path, monkeypatch):
    """A package with its configs beside it, and a folder of the user's."""
    write("checkout/dmaelab/config/zoo.py", "")
    write("checkout/configs/digits/pretrain.py", "from ..common.train import train\n")
    write("checkout/configs/common/train.py", "train = dict(lr=1)\n")
    write("checkout/configs/_private.py", "x = 1\n")
    write("mine/own.py", "train = dict(lr=3)\n")
    monkeypatch.setattr(zoo, "__file__", str(tmp_path / "checkout/dmaelab/config/zoo.py"))
    monkeypatch.delenv("DMAELAB_CONFIGS", raising=False)
    return write


def test_beside_the_package(folders):
    assert list_configs() == ["digits/pretrain"]
    assert get_config("digits/pretrain") == get_config("digits/pretrain.py") == {"train": {"lr": 1}}
    assert get_config("common/train") == {"train": {"lr": 1}}


def test_own_folder_goes_first(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("DMAELAB_CONFIGS", str(tmp_path / "mine"))
    assert list_configs() == ["digits/pretrain", "own"]
    assert get_config("own").train.lr == 3
    folders("mine/digits/pretrain.py", "train = dict(lr=4)\n")
    assert get_config("digits/pretrain").train.lr == 4
    monkeypatch.setenv("DMAELAB_CONFIGS", "nowhere")
    with pytest.raises(ConfigError, match=r"^\$DMAELAB_CONFIGS is 'nowhere', which is not a folder$"):
        get_config("own")


def test_the_copy_in_a_wheel(folders):
    folders("checkout/dmaelab/_configs/only.py", "a = 1\n")
    assert list_configs() == ["only"]
    assert get_config("only") == {"a": 1}


@pytest.mark.parametrize("name", ["../../mine/own", "digits/../../../mine/own", "{folder}/mine/own"])
def test_a_name_leads_to_no_other_folder(folders, tmp_path, name):
    with pytest.raises(ConfigError, match="is no name of a config below a folder of configs"):
        get_config(name.format(folder=tmp_path))


def test_unknown_name(folders):
    with pytest.raises(ConfigError) as error:
        get_config("digits/pretrian")
    assert str(error.value) == "there is no config 'digits/pretrian' (did you mean 'digits/pretrain'?)"
