"""Policies for tests, in place of the real policy of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibundle.sources import policy


def set_policy(patch: pytest.MonkeyPatch, folder: Path, text: str) -> Path:
    """Write a policy file into a folder, and make dib in this process use this file. Return the file."""
    path = folder / "policy.toml"
    path.write_text(text)
    path.chmod(0o644)
    patch.setattr(policy, "PATH", str(path))
    return path
