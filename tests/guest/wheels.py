"""The disk with Python's packages: `wheels` to install from without a network, and `site`, ready for use."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from guest.cache import HERE, kept, run
from guest.disk import disk

PYPROJECT = HERE.parents[1] / "pyproject.toml"
_FOR_DEBIAN = [
    *("--only-binary=:all:", "--python-version=3.11", "--implementation=cp"),
    *(f"--platform=manylinux{version}_x86_64" for version in ("2014", "_2_17", "_2_28", "_2_34")),
]
"""Wheels for the guest's Python, whatever Python this is."""


def wheels() -> Path:
    """The image, built if there is none for what pyproject.toml asks for; RuntimeError if there is no registry."""
    made_from = [repr(requirements()).encode(), Path(__file__).read_bytes()]
    return kept("wheels", made_from, _build) / "disk.ext4"


def _build(work: Path, ready: Path) -> None:
    top = work / "top"
    top.mkdir()
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    wanted = requirements()
    run([*pip, "download", "-d", str(top / "wheels"), *_FOR_DEBIAN, *wanted], work, 600)
    wheels = [str(wheel) for wheel in (top / "wheels").glob("*.whl")]
    run(
        [*pip, "install", "--no-deps", "--no-index", "--target", str(top / "site"), *_FOR_DEBIAN, *wheels],
        work,
        300,
    )
    disk(top, ready / "disk.ext4", 1 << 10)


def requirements() -> list[str]:
    """What `make setup` installs, and what builds an editable vtopo."""
    data = tomllib.loads(PYPROJECT.read_text())
    own = data["project"]["optional-dependencies"]
    found = [*data["build-system"]["requires"], "editables", *data["project"]["dependencies"]]
    for extra in ("dev", "docker", "lsp"):
        found += [line for line in own[extra] if not line.startswith("vtopo[")]
    return found
