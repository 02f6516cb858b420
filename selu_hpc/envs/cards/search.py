"""How a formula that was begun can be brought to its target with the numbers that are left.

Owns the search alone; what may follow what is formula.py's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache

from selu_hpc.envs.cards.formula import Levels, after, read, value_of

MOST_PAIRS = 2
"""Pairs of parentheses to add. Two are enough for four numbers: a third would have to stand inside a term of a term."""


def completion(
    formula: Sequence[str], unused: Iterable[int], target: int, symbols: Sequence[str]
) -> tuple[str, ...] | None:
    """The fewest symbols to add so that every number is used and the target is met; None if there are none.

    symbols: those that may be written. `completion(("3",), (9,), 12, ("+", "*"))` is `("+", "9")`.
    """
    levels = read(formula)
    if levels is None:
        return None
    numbers, operators = tuple(sorted(unused)), tuple(s for s in "+-*/" if s in symbols)
    for num_pairs in range(MOST_PAIRS + 1 if "(" in symbols else 1):
        found = _completed(levels, numbers, num_pairs, Fraction(target), operators)
        if found is not None:
            return found
    return None


@lru_cache(maxsize=1 << 18)
def _completed(
    levels: Levels, unused: tuple[int, ...], num_pairs: int, target: Fraction, operators: tuple[str, ...]
) -> tuple[str, ...] | None:
    waits = bool(levels[-1].operator)
    if not unused and (waits or levels[-1].value is None):
        return None
    if not unused and len(levels) == 1:
        return () if value_of(levels) == target else None
    for symbol in _next(levels, unused, num_pairs, operators):
        deeper = after(levels, symbol)
        assert deeper is not None
        left = _without(unused, symbol)
        rest = _completed(deeper, left, num_pairs - (symbol == "("), target, operators)
        if rest is not None:
            return (symbol, *rest)
    return None


def _next(levels: Levels, unused: tuple[int, ...], num_pairs: int, operators: tuple[str, ...]) -> list[str]:
    if levels[-1].operator:
        opening = ["("] if num_pairs and len(unused) > 1 else []
        return [*(str(number) for number in dict.fromkeys(unused)), *opening]
    closing = [")"] if len(levels) > 1 else []
    return [*(operators if unused else ()), *closing]


def _without(unused: tuple[int, ...], symbol: str) -> tuple[int, ...]:
    if not symbol.isdecimal():
        return unused
    place = unused.index(int(symbol))
    return unused[:place] + unused[place + 1 :]
