"""Numbers and values as the page shows them; what is not known is a dash."""

from typing import Any

UNKNOWN = "—"


def digits(value: float | None, count: int) -> str:
    return UNKNOWN if value is None else f"{value:.{count}f}"


def signed(value: float | None) -> str:
    """With its sign, a true minus."""
    return UNKNOWN if value is None else f"{value:+.4f}".replace("-", "−")


def interval(limits: tuple[float | None, float | None]) -> str:
    return UNKNOWN if None in limits else f"[{signed(limits[0])}, {signed(limits[1])}]"


def resolvable(reach: dict[str, float | None] | None) -> str:
    """The smallest resolvable difference, and whatever the seeds."""
    if reach is None:
        return UNKNOWN
    at_best = reach["difference_at_best"]
    return f"{digits(reach['difference'], 4)} ({'not estimable' if at_best is None else digits(at_best, 4)})"


def probability(p: float | None) -> str:
    return UNKNOWN if p is None else "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def setting(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return "-".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


FILTERS = {f.__name__: f for f in (digits, signed, interval, resolvable, probability, plural, setting)}
