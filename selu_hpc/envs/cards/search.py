"""How a formula that was begun can be brought to its target with the numbers that are left.

Owns the search alone; what may follow what is formula.py's. What is written goes from left to right, but what stands
in a new pair of parentheses matters by its value only: so the search takes a whole pair as one step, and knows every
value of a few numbers beforehand (`formulas`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations

from selu_hpc.envs.cards.formula import Levels, after, apply, read, with_operand

MOST_PAIRS = 2
"""Pairs of parentheses side by side; a third pair would have to hold a single number of the four."""
ANY = None
Numbers = tuple[int, ...]
Symbols = tuple[str, ...]


def completion(formula: Sequence[str], unused: Iterable[int], target: int, allowed: Sequence[str]) -> Symbols | None:
    """What to write so that every number is used and the target is met, with few parentheses; None if nothing does.

    allowed: the symbols that may be written. `completion(("3",), (9,), 12, ("+", "*"))` is `("+", "9")`.
    """
    levels = read(formula)
    if levels is None:
        return None
    numbers, operators = tuple(sorted(unused)), tuple(symbol for symbol in "+-*/" if symbol in allowed)
    for num_pairs in range(MOST_PAIRS + 1 if "(" in allowed else 1):
        found = _completed(levels, numbers, num_pairs, target, operators)
        if found is not None:
            return found
    return None


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula and what holds it together in the end: "+" for a sum, "*" for a product, nothing for a number."""

    symbols: Symbols
    kind: str = ""

    def inside(self, operator: str, *, right: bool) -> Symbols:
        """Its symbols as an operand, in parentheses where it needs them."""
        apart = operator in ("*", "/") if self.kind == "+" else self.kind == "*" and operator == "/" and right
        apart = apart or (self.kind == "+" and operator == "-" and right)
        return ("(", *self.symbols, ")") if apart else self.symbols


@lru_cache(maxsize=1 << 16)
def can_make(numbers: Numbers, value: Fraction, operators: Symbols) -> bool:
    """Whether these numbers, sorted and each used once, can have that value together.

    The answer for four numbers keeps no list of their values: those of all hands would take a gigabyte.
    """
    if len(numbers) == 1:
        return value == numbers[0]
    return any(
        right is ANY or right in formulas(_without(numbers, part), operators)
        for part in _parts(numbers, range(1, len(numbers)))
        for left in formulas(part, operators)
        for operator in operators
        for right in _rights(operator, left, value)
    )


@lru_cache(maxsize=1 << 10)
def formulas(numbers: Numbers, operators: Symbols) -> dict[Fraction, Formula]:
    """For every value that the numbers can have together, each used once, a short formula; the numbers are sorted."""
    if len(numbers) == 1:
        return {Fraction(numbers[0]): Formula((str(numbers[0]),))}
    found: dict[Fraction, Formula] = {}
    for left_numbers in _parts(numbers, range(1, len(numbers))):
        rights = formulas(_without(numbers, left_numbers), operators)
        for left_value, left in formulas(left_numbers, operators).items():
            for right_value, right in rights.items():
                for operator in operators:
                    value = apply(operator, left_value, right_value)
                    if value is None:
                        continue
                    joined = _joined(left, operator, right)
                    if value not in found or len(joined.symbols) < len(found[value].symbols):
                        found[value] = joined
    return found


@lru_cache(maxsize=1 << 16)
def _completed(levels: Levels, unused: Numbers, num_pairs: int, target: int, operators: Symbols) -> Symbols | None:
    if not unused and len(levels) == 1 and not levels[0].operator:
        return () if levels[0].value == target else None
    if _hopeless(levels, unused, target, operators):
        return None
    for written, deeper, left, num_left in _pieces(levels, unused, num_pairs, operators):
        rest = _completed(deeper, left, num_left, target, operators)
        if rest is not None:
            return (*written, *rest)
    return None


def _hopeless(levels: Levels, unused: Numbers, target: int, operators: Symbols) -> bool:
    inner = levels[-1]
    if not unused:
        return bool(inner.operator) or inner.value is None
    if inner.total is None or inner.term is None:
        return True
    # a sum that goes on is short of its target by what the other numbers have to make
    if len(levels) == 1 and inner.operator in ("+", "-"):
        short = target - inner.total
        return not can_make(unused, short if inner.operator == "+" else -short, operators)
    return False


def _rights(operator: str, left: Fraction, value: Fraction) -> tuple[Fraction | None, ...]:
    """The right operands that give the value: none, one, or any but zero."""
    match operator:
        case "+":
            return (value - left,)
        case "-":
            return (left - value,)
        case _ if left == 0:
            return (ANY,) if value == 0 else ()
        case "*":
            return (value / left,)
        case _:
            return (left / value,) if value else ()


def _pieces(
    levels: Levels, unused: Numbers, num_pairs: int, operators: Symbols
) -> Iterator[tuple[Symbols, Levels, Numbers, int]]:
    """What can be written next: the symbols, what is read then, the numbers and the pairs of parentheses left."""
    if not levels[-1].operator:
        for symbol in (*(operators if unused else ()), ")"):
            deeper = after(levels, symbol)
            if deeper is not None:
                yield (symbol,), deeper, unused, num_pairs
        return
    for number in dict.fromkeys(unused):
        yield (str(number),), with_operand(levels, Fraction(number)), _without(unused, (number,)), num_pairs
    if not num_pairs:
        return
    # after "+" all the numbers that are left need no parentheses
    for part in _parts(unused, range(2, len(unused) + (levels[-1].operator != "+"))):
        for value, formula in formulas(part, operators).items():
            yield ("(", *formula.symbols, ")"), with_operand(levels, value), _without(unused, part), num_pairs - 1


def _joined(left: Formula, operator: str, right: Formula) -> Formula:
    symbols = (*left.inside(operator, right=False), operator, *right.inside(operator, right=True))
    return Formula(symbols, "+" if operator in ("+", "-") else "*")


@lru_cache(maxsize=1 << 12)
def _parts(numbers: Numbers, sizes: range) -> tuple[Numbers, ...]:
    """The choices of so many numbers, each once and sorted as the numbers are."""
    return tuple(dict.fromkeys(part for size in sizes for part in combinations(numbers, size)))


def _without(numbers: Numbers, part: Numbers) -> Numbers:
    left = list(numbers)
    for number in part:
        left.remove(number)
    return tuple(left)
