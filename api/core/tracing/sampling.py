"""Which traces are exported, decided at their beginning, by OpenTelemetry's names of the ways."""

from __future__ import annotations

from dataclasses import dataclass
from random import getrandbits, randrange

from api.core.tracing.context import TraceContext
from config.settings import Settings

_PARENT_BASED = "parentbased_"
_WHOLE = 1 << 64


@dataclass(frozen=True, slots=True)
class Sampler:
    """Takes a share of the traces; or what it is told by who began them."""

    ratio: float
    follows_parent: bool

    @classmethod
    def of(cls, settings: Settings) -> Sampler:
        """The sampler that the settings name."""
        name = settings.otel_traces_sampler
        ratios = {"always_on": 1.0, "always_off": 0.0}
        return cls(
            ratios.get(name.removeprefix(_PARENT_BASED), settings.otel_traces_sampler_arg),
            name.startswith(_PARENT_BASED),
        )

    def takes(self, parent: TraceContext | None, trace_id: int) -> bool:
        """Whether a trace is sampled: all processes say the same of one id."""
        if parent is not None and self.follows_parent:
            return parent.sampled
        return trace_id & (_WHOLE - 1) < int(self.ratio * _WHOLE)

    def new_id(self, sampled: bool | None = None) -> int:
        """The id of a new trace; one that every process with this share samples, or that none
        does, where that is given."""
        first, bound = getrandbits(64), int(self.ratio * _WHOLE)  # nosec B311
        if sampled is None:
            last = getrandbits(64)  # nosec B311
        elif sampled:
            last = randrange(max(bound, 1))  # nosec B311 # noqa: S311 - nothing secret
        else:
            last = randrange(min(bound, _WHOLE - 1), _WHOLE)  # nosec B311 # noqa: S311
        return first << 64 | last or 1
