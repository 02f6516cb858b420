"""Formulas read symbol by symbol, with exact arithmetic.

Owns which symbol may follow which and what a formula is worth. Does not own which numbers the cards allow (points.py).
No unary signs: "-" and "+" stand between two operands. A division by zero is written like any other; such a formula
has no value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

Value = Fraction | None
"""None is the value of what was divided by zero."""


@dataclass(frozen=True, slots=True)
class Level:
    """What was read since a parenthesis that is still open, or since the formula's beginning.

    total: the sum of the terms that are finished.
    term: the term being read, with its sign; 0 after "+" and "-".
    operator: what waits for its right operand; empty after an operand.

    After "2+3*": total 2, term 3, operator "*".
    """

    total: Value = Fraction(0)
    term: Value = Fraction(0)
    operator: str = "+"

    @property
    def value(self) -> Value:
        return None if self.total is None or self.term is None else self.total + self.term


Levels = tuple[Level, ...]
"""The innermost level is the last."""
START: Levels = (Level(),)


def after(levels: Levels, symbol: str) -> Levels | None:
    """What has been read once the symbol is, too; None where it cannot follow."""
    *outer, inner = levels
    if inner.operator:
        if symbol == "(":
            return (*levels, Level())
        return with_operand(levels, Fraction(int(symbol))) if symbol.isdecimal() else None
    if symbol in ("+", "-"):
        return (*outer, Level(total=inner.value, operator=symbol))
    if symbol in ("*", "/"):
        return (*outer, replace(inner, operator=symbol))
    if symbol == ")" and outer:
        return with_operand(tuple(outer), inner.value)
    return None


def with_operand(levels: Levels, operand: Value) -> Levels:
    """What has been read once an operand is, too, a number or a pair of parentheses; an operator waits for it."""
    *outer, inner = levels
    return (*outer, replace(inner, term=apply(inner.operator, inner.term, operand), operator=""))


def apply(operator: str, left: Value, right: Value) -> Value:
    """The one operation, exact."""
    if left is None or right is None:
        return None
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case _:
            return left / right if right else None


def read(symbols: Iterable[str]) -> Levels | None:
    """A formula's levels; None when one of its symbols cannot follow those before it."""
    levels: Levels | None = START
    for symbol in symbols:
        if levels is None:
            return None
        levels = after(levels, symbol)
    return levels


def value_of(levels: Levels | None) -> Value:
    """What a formula is worth that ends here; None when it is wrong, unfinished or divides by zero."""
    if levels is None or len(levels) > 1 or levels[0].operator:
        return None
    return levels[0].value


def value(symbols: Iterable[str]) -> Value:
    """`value(("2", "/", "3"))` is exactly two thirds."""
    return value_of(read(symbols))
