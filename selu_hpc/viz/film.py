"""An episode of the newest round for the report: its frames as one strip, with what the actor did.

Reads finished shards only. Pages that play episodes back are replay.py's.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable

from PIL import Image

from selu_hpc.records import Action, Episode
from selu_hpc.rounds.rundir import RunDir, Stage
from selu_hpc.store.trajectories import EpisodeReader
from selu_hpc.viz.figures import escaped
from selu_hpc.viz.plain import plain
from selu_hpc.viz.played import finished_shards


def show_film(run: RunDir, *, views: int) -> Iterable[str]:
    """The first episode that is finished of the newest round, its first views; nothing before one is."""
    played = finished_shards(run, Stage.ROLLOUT)
    if not played:
        return
    newest = max(played)
    store = EpisodeReader(run.shard(newest, Stage.ROLLOUT, min(played[newest])).episodes)
    if not len(store):
        return
    episode = store.episode(0)
    words = " → ".join(_done(action, pays=views == 1) for action in episode.actions)
    said = f": “{episode.task.instruction}” in {episode.task.scene}: {words}."
    above = " Above the actor’s view, below the critic’s." if views > 1 else ""
    name = escaped(plain(episode.episode_id))
    seen = f"{len(episode.frames_tvhwc)} pictures of episode {name}, from left to right.{above}"
    yield f"<h2>An episode of round {newest}</h2>" if newest else "<h2>An episode of the warm-up</h2>"
    yield '<figure><div class=wide tabindex=0 role=region aria-label="Film">'
    yield f'<img alt="{seen}" src="{_strip(episode, views)}"></div>'
    others = f"<code>{escaped(plain(run.command('replay')))}</code> plays others back."
    yield f"<figcaption>{name}{escaped(plain(said))}{above} {others}</figcaption></figure>"


def _done(action: Action, *, pays: bool) -> str:
    """An action, and what was another's doing. pays: it is a game's, where chance may move and nothing is refused."""
    if pays and action.error == "strayed":
        return f"{action.parsed} (drawn at random)"
    if pays and action.error == "drawn":
        return f"(unreadable; {action.parsed} drawn)"
    if not action.parsed:
        return "(unreadable)"
    return action.parsed if action.ok or pays else f"{action.parsed} (refused)"


def _strip(episode: Episode, views: int) -> str:
    strip = episode.frames_tvhwc[:, :views].transpose(1, 2, 0, 3, 4)
    num_views, height, steps, width, channels = strip.shape
    out = io.BytesIO()
    Image.fromarray(strip.reshape(num_views * height, steps * width, channels)).save(out, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
