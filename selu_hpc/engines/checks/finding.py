"""One check's answer, and how bad it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's answer; `fix` is empty where nothing is to be done."""

    check: str
    grade: Grade
    answer: str
    fix: str = ""


def ok(check: str, answer: str) -> Finding:
    return Finding(check, Grade.OK, answer)


def warn(check: str, answer: str, fix: str) -> Finding:
    return Finding(check, Grade.WARNING, answer, fix)


def bad(check: str, answer: str, fix: str) -> Finding:
    return Finding(check, Grade.PROBLEM, answer, fix)
