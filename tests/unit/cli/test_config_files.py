"""Which files are looked at again because they may change the settings of a run."""

from __future__ import annotations

from pathlib import Path

from livereload_core.cli.config import config_files
from livereload_core.core.settings import Settings, Target, TargetKind


def _settings(root: Path, cwd: Path, name: str = "app", kind: TargetKind = TargetKind.MODULE) -> Settings:
    return Settings(Target(kind, name), cwd=str(cwd), root=str(root), app_dir=str(cwd))


def test_the_file_that_was_read_is_one_of_them_however_far_up_it_lies(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("")
    files = config_files(_settings(inner, inner))
    assert str(tmp_path / "pyproject.toml") in files
    assert str(inner / "pyproject.toml") in files  # a nearer one that may come
    assert len(set(files)) == len(files)


def test_for_a_script_the_folder_of_the_script_counts(tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    settings = _settings(tmp_path, tmp_path, "scripts/serve.py", TargetKind.SCRIPT)
    assert str(scripts / "pyproject.toml") in config_files(settings)
