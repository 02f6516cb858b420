"""What is read of a text, in canonical words; both simulators' languages."""

from __future__ import annotations

from selu_hpc.config import Simulator
from selu_hpc.envs.language import Language
from selu_hpc.envs.words import language_of

THOR = language_of(Simulator.THOR)
HOME = language_of(Simulator.VIRTUALHOME)


def said_of(language: Language, text: str) -> str | None:
    """What a text is read as, in canonical words."""
    command = language.read(text)
    return command and language.say(command)
