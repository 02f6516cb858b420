"""Formulas: exact, never evaluated as code, and never a crash."""

import ast
from fractions import Fraction
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import selu_hpc.envs.cards
from selu_hpc.envs.cards.formula import after, read, value

SYMBOLS = [*map(str, range(1, 11)), "+", "-", "*", "/", "(", ")"]


def formula_trees():
    numbers = st.integers(1, 10).map(str)
    return st.recursive(numbers, lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner), max_leaves=6)


def written(tree):
    """A tree with every pair of parentheses that can be written."""
    if isinstance(tree, str):
        return [tree]
    left, operator, right = tree
    return ["(", *written(left), operator, *written(right), ")"]


def worth(tree):
    if isinstance(tree, str):
        return Fraction(tree)
    left, right = worth(tree[0]), worth(tree[2])
    if left is None or right is None:
        return None
    match tree[1]:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
    return left / right if right else None


@given(formula_trees())
def test_a_formula_is_worth_what_its_tree_is(tree):
    assert value(written(tree)) == worth(tree)


@given(st.lists(st.sampled_from(SYMBOLS), max_size=21))
def test_any_symbols_have_python_s_own_value_or_none(symbols):
    """Whatever has a value here has the same in Python; what is None is no formula there, or one with a sign."""
    found = value(symbols)
    if found is not None:
        exact = "".join(f"Fraction({s})" if s.isdecimal() else s for s in symbols)
        assert found == eval(exact, {"Fraction": Fraction})  # the test may; the package may not


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_what_can_be_written_is_the_beginning_of_a_python_formula(length):
    """Of all short rows of symbols: each that can be read is closed in the simplest way and parsed."""
    for symbols in product(["2", "+", "*", "(", ")"], repeat=length):
        if read(symbols) is not None:
            closed = (*symbols, *(("2",) if read(symbols)[-1].operator else ()))
            closed += (")",) * (len(read(closed)) - 1)
            ast.parse(" ".join(closed), mode="eval")


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("8 / ( 3 - 8 / 3 )", 24),
        ("2 - 3 - 4", -5),
        ("8 / 4 / 2", 1),
        ("2 + 3 * 4", 14),
        ("10 - 2 * 3 - 1", 3),
        ("1 / 3", Fraction(1, 3)),
        ("( ( 7 ) )", 7),
    ],
)
def test_precedence_and_fractions(text, worth):
    assert value(text.split()) == worth


@pytest.mark.parametrize("text", ["8 / ( 4 - 4 )", "1 + 8 / ( 4 - 4 ) - 3", "( 8 / ( 2 - 2 ) ) * 3"])
def test_a_division_by_zero_can_be_written_and_is_worth_nothing(text):
    assert read(text.split()) is not None
    assert value(text.split()) is None


@pytest.mark.parametrize(
    "text", ["", "3 +", "( 3", "( 3 + 4", "3 )", "+ 3", "- 3", "3 3", "3 (", "( )", "3 * * 3", "="]
)
def test_what_is_no_formula_is_worth_nothing(text):
    assert value(text.split()) is None


@given(st.lists(st.sampled_from(SYMBOLS), max_size=12), st.sampled_from(SYMBOLS))
def test_a_symbol_follows_where_the_longer_formula_can_be_read(symbols, symbol):
    levels = read(symbols)
    longer = read([*symbols, symbol])
    assert longer == (None if levels is None else after(levels, symbol))


def test_the_package_evaluates_no_text():
    for module in Path(selu_hpc.envs.cards.__path__[0]).glob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)]
        assert {call.id for call in calls if isinstance(call, ast.Name)}.isdisjoint({"eval", "exec", "compile"})
