"""Which of a round's episodes a page shows: kinds of episodes, and a choice in which each kind is there. Pure.

Does not own what makes an episode of a kind (played.py); imports nothing, so that `--help` is at hand at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum


class Kind(StrEnum):
    """What one may look for; an episode is of several kinds, or of none but `all` while it is not judged."""

    ALL = "all"
    YES = "yes"
    NO = "no"
    CORRECTED = "corrected"
    RELABELLED = "relabelled"
    WRONG = "wrong"


def choose(kinds: Sequence[frozenset[Kind]], limit: int) -> list[int]:
    """The places of at most `limit` episodes, ascending.

    Of every combination of kinds equally many as far as there are, the rarest first, spread over the round.
    """
    groups: dict[frozenset[Kind], list[int]] = defaultdict(list)
    for place, one in enumerate(kinds):
        groups[one].append(place)
    rarest_first = sorted(groups.values(), key=lambda group: (len(group), group[0]))
    shares = [0] * len(rarest_first)
    left = min(limit, len(kinds))
    while left:
        for at, group in enumerate(rarest_first):
            if left and shares[at] < len(group):
                shares[at] += 1
                left -= 1
    return sorted(
        group[number * len(group) // share]
        for group, share in zip(rarest_first, shares, strict=True)
        for number in range(share)
    )
