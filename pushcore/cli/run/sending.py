"""The options of the section Sending (rate, retries, window) as settings of the engine."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from ...audience.problems import BadInput
from ...engine.rate import FCM_RATE, Rate
from ...engine.retry import RetryPolicy
from ...errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingOptions:
    """The values of the options. Raises `BadInput` if one of them is invalid."""

    retry: Literal["none", "report", "resend"] = "report"
    max_age: float | None = None
    rate: str | None = None
    window: int | None = None
    start_at: datetime | None = None
    metrics_port: int | None = None

    @classmethod
    def of(cls, options: dict[str, Any]) -> SendingOptions:
        """From a command's options; the values are removed from `options`."""
        return cls(
            **{option.name: options.pop(option.name) for option in fields(cls) if option.name in options}
        )

    def __post_init__(self) -> None:
        self.limit()
        if self.retry == "none" and self.max_age is not None:
            raise BadInput("--max-age has no effect with --retry none")

    def policy(self) -> RetryPolicy | None:
        """The engine's retry policy."""
        if self.retry == "none":
            return None
        if self.max_age is None:
            return RetryPolicy(unknown=self.retry)
        return RetryPolicy(unknown=self.retry, max_age=self.max_age)

    def limit(self) -> Rate | None:
        """The engine's rate; None for the providers' defaults."""
        if self.rate is None:
            return None
        try:
            return Rate.parse(self.rate)
        except ConfigurationError as error:
            raise BadInput(f"--rate: {error}") from None

    @property
    def unlimited(self) -> bool:
        """Whether FCM's own limit is disabled, too, so that a warning is needed."""
        limit = self.limit()
        return limit is not None and limit.unlimited


UNLIMITED = f"no limit on the rate (--rate none); a project of FCM has {FCM_RATE.pushes:,.0f} a minute"
"""The warning about a disabled limit."""
