"""Numbers as people write them: `30M`, `1.3B`, `20x`, `2h`, `1/3`. Parsed exactly, printed back short."""

from __future__ import annotations

import re
from contextlib import suppress
from fractions import Fraction

SCALES = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}
SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_NUMBER = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?)\s*([A-Za-z]*)\s*\Z")
_SHARE = re.compile(r"\s*-?[0-9]+(?:/[0-9]+|(?:\.[0-9]+)?(?:[eE]-?[0-9]{1,2})?)\s*\Z")


def _split(text: object, units: dict[str, int], example: str) -> Fraction:
    if isinstance(text, bool) or not isinstance(text, (int, float, str)):
        raise ValueError(f"{text!r} is not a number such as {example}")
    match = _NUMBER.match(str(text))
    if not match or match[2] not in units:
        raise ValueError(f"{text!r} is not a number such as {example}")
    return Fraction(match[1].replace("_", "")) * units[match[2]]


def parse_count(text: object) -> int:
    """`30M`, `1.3B`, `2e9`, `1_000_000` → an exact whole number; ValueError for anything else, 0 included."""
    value = _split(text, SCALES, "250k, 30M, 1.3B or 1_000_000")
    if value.denominator != 1 or value < 1:
        raise ValueError(f"{text!r} is not a whole number of at least 1")
    return int(value)


def parse_budget(text: object) -> int | Fraction:
    """A token budget: a count, or `20x` = 20 tokens a parameter (returned as the Fraction 20)."""
    if isinstance(text, Fraction):
        return text
    if isinstance(text, str) and text.strip().endswith("x"):
        ratio = _split(text.strip()[:-1], {"": 1}, "20x")
        if ratio <= 0:
            raise ValueError(f"{text!r}: tokens a parameter must be above 0")
        return ratio
    return parse_count(text)


def parse_seconds(text: object) -> float:
    """`90s`, `2m`, `1.5h`, `1d`, or a bare number of seconds → seconds."""
    return float(_split(text, {"": 1, **SECONDS}, "90s, 2m, 1.5h or 1d"))


def parse_fraction(text: object) -> Fraction:
    """A share as an exact fraction: `0.1` is 1/10 and not a float near it; `1/3` is read as written."""
    value = text if isinstance(text, Fraction) else None
    if isinstance(text, (int, float, str)) and not isinstance(text, bool) and _SHARE.match(str(text)):
        with suppress(ZeroDivisionError):
            value = Fraction(str(text).strip())
    if value is None:
        raise ValueError(f"{text!r} is not a share such as 0.25 or 1/3")
    if not 0 <= value <= 1:
        raise ValueError(f"{text} is outside [0, 1]")
    return value


def format_count(value: int | float) -> str:
    """1_300_000_000 → `1.3B`, 250_000 → `0.25M`; at most three significant digits, for people.

    So counts of up to three digits that matter come back through parse_count unchanged.
    """
    for unit, scale, least in (("T", 10**12, 0.9995), ("B", 10**9, 0.9995), ("M", 10**6, 0.0495), ("k", 10**3, 9.9995)):
        if value >= scale * least:
            return f"{value / scale:.3g}{unit}"
    return f"{value:.4g}"


def format_seconds(seconds: float) -> str:
    """3725 → `1h 02m`, 75 → `1m 15s`, 8.2 → `8s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 60}m {whole % 60:02d}s" if whole >= 60 else f"{whole}s"


def format_bytes(value: float) -> str:
    """2_300_000_000 → `2.3 GB`; below 1 GB in MB."""
    return f"{value / 1e9:,.1f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"
