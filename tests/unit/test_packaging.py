"""What pip installs is whole: the grammar is in it, and it works from any folder."""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

import pytest

from vtopo import __version__

ROOT = Path(__file__).parents[2]


def run(*argv: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run([*map(str, argv)], cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_an_installed_vtopo_checks_a_lab_from_any_folder(tmp_path: Path) -> None:
    place = tmp_path / "venv"
    venv.create(place, with_pip=True)
    pip = (place / "bin/python", "-m", "pip", "--disable-pip-version-check")
    reached = run(*pip, "download", "-q", "--no-deps", "-d", tmp_path / "d", "hatchling", cwd=tmp_path)
    if reached.returncode:
        pytest.skip("pip reaches no registry")
    installed = run(*pip, "install", "-q", "--no-compile", ROOT, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr

    vtopo = place / "bin/vtopo"
    where = run(place / "bin/python", "-c", "import vtopo; print(vtopo.__file__)", cwd=tmp_path)
    assert where.stdout.startswith(str(place))
    assert run(vtopo, "--version", cwd=tmp_path).stdout == f"vtopo {__version__}\n"
    (tmp_path / "copy.vlab").write_text((ROOT / "labs/overlay.vlab").read_text())
    checked = run(vtopo, "check", "copy.vlab", cwd=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.startswith("copy.vlab: ok, 4 hosts, 2 bridges")
