"""What ``apply`` needs: no encoder, no engine, no file but its inputs."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.pairs import Pair

WITHOUT = """
import sys
for name in ("hdiffpatch", "dibundle.creating", "dibundle.compose", "dibundle.match"):
    sys.modules[name] = None
sys.argv = ["dib", "apply", *sys.argv[1:]]
from dibundle.cli.main import run
run()
"""


def test_no_encoder_is_imported(pair: Pair) -> None:
    for bundle in pair.bundles:
        command = [sys.executable, "-c", WITHOUT, pair.base, bundle]
        done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PATH": ""})
        assert done.returncode == 0, done.stderr
        assert done.stdout == pair.target.read_bytes()
