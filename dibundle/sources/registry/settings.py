"""Settings for registries. Nothing here needs urllib3."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dibundle.errors import UsageError
from dibundle.sources import messages

# maximum seconds (about three years), because the system's timers do not accept every number
MAX_SECONDS: Final = 10**8
MIN_RATE: Final = 1000  # bytes a second; only a deliberately slow sender is slower


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """Settings for registries. ``logins`` are login files, and ``insecure`` hosts are contacted without TLS.

    ``tries`` is the number of attempts per request. ``pause`` is the number of seconds to wait after the first attempt.
    ``timeout`` is the maximum number of seconds during which no byte arrives. ``max_time`` is the maximum number of
    seconds for all requests for one name (None: no limit). ``min_rate`` is the minimum number of bytes a second,
    measured over ``timeout``. Raises :class:`UsageError` for times that are not positive numbers, or that exceed
    ``MAX_SECONDS``.
    """

    logins: tuple[Path, ...] = ()
    insecure: frozenset[str] = frozenset()
    tries: int = 5
    pause: float = 0.5
    timeout: float = 60.0
    max_time: float | None = None
    min_rate: int = MIN_RATE
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        """Refuse times that no timer accepts, and NaN: comparisons with NaN are false, so NaN would disable a limit."""
        for name, seconds in (("max_time", self.max_time), ("timeout", self.timeout)):
            if seconds is not None and not 0 < seconds <= MAX_SECONDS:
                raise UsageError(messages.REGISTRY_SECONDS, name=name, seconds=seconds, max_seconds=MAX_SECONDS)
