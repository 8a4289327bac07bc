"""The virtual environment: one that is broken, or was made elsewhere, is told from one that is whole."""

import os
import shutil
import subprocess
import sys

import environment
import pytest


@pytest.fixture
def place(tmp_path, monkeypatch):
    folder = tmp_path / "venv"
    monkeypatch.setattr(environment, "FOLDER", folder)
    monkeypatch.setattr(environment, "PYTHON", folder / "bin" / "python")
    monkeypatch.setattr(environment, "INSTALLED", folder / "ridgeline-locks")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A virtual environment with pip, made once."""
    folder = tmp_path_factory.mktemp("made") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


def test_a_fresh_environment_is_whole(made, place, monkeypatch):
    monkeypatch.setattr(environment, "FOLDER", made)
    monkeypatch.setattr(environment, "PYTHON", made / "bin" / "python")
    assert environment._is_whole()


def test_an_environment_that_was_moved_is_not_whole(made, place):
    shutil.copytree(made, place, symlinks=True)
    assert not environment._is_whole()


def test_an_environment_without_pip_is_not_whole(place):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    assert not environment._is_whole()


def test_an_environment_whose_python_is_gone_is_not_whole(made, place):
    shutil.copytree(made, place, symlinks=True)
    (place / "bin" / "python").unlink()
    os.symlink("/nowhere/python", place / "bin" / "python")
    assert not environment._is_whole()


def test_no_environment_is_not_whole(place):
    assert not environment._is_whole()


def test_what_was_installed_from_another_lock_does_not_count(place, tmp_path, monkeypatch, checkout):
    monkeypatch.setattr(environment, "CHECKOUT", tmp_path)
    (tmp_path / "requirements.txt").write_text("old\n")
    place.mkdir()
    environment.INSTALLED.write_text(environment._digest("runtime") + "\n")
    assert environment._digest("runtime") in environment._installed()
    (tmp_path / "requirements.txt").write_text("new\n")
    assert environment._digest("runtime") not in environment._installed()
