"""Returns and advantages of whole episodes (generalised advantage estimation). Pure.

Shape legend: T steps of all episodes, one after the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def advantages(
    rewards_t: Floats, values_t: Floats, last_t: NDArray[np.bool_], *, discount: float, gae_lambda: float
) -> Floats:
    """How much better each step was than its value said. last_t: the step that ended its episode, cut off or not."""
    found = np.zeros_like(rewards_t)
    after_value = after_advantage = 0.0
    for t in range(len(rewards_t) - 1, -1, -1):
        if last_t[t]:
            after_value = after_advantage = 0.0
        surprise = rewards_t[t] + discount * after_value - values_t[t]
        after_advantage = surprise + discount * gae_lambda * after_advantage
        after_value = values_t[t]
        found[t] = after_advantage
    return found


def normalised(advantages_t: Floats) -> Floats:
    """Mean 0 and spread 1 over a round, as the paper's code has it; one step or equal ones become 0."""
    spread = float(advantages_t.std(ddof=1)) if len(advantages_t) > 1 else 0.0
    scaled: Floats = (advantages_t - advantages_t.mean()) / (spread + 1e-5)
    return scaled
