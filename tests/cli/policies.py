"""Policies of a machine for tests, in place of the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibundle.sources import policy


def set_policy(patch: pytest.MonkeyPatch, folder: Path, text: str) -> Path:
    """Have dib, in this process, follow a policy that is written into a folder; return its file."""
    path = folder / "policy.toml"
    path.write_text(text)
    path.chmod(0o644)
    patch.setattr(policy, "PATH", str(path))
    return path
