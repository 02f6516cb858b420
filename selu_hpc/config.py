"""What a run is: frozen settings read from a YAML recipe and overrides.

Owns every setting, its default, its check and the signature of a resolved config.
Does not own reading files (recipes/), what settings are made of (settings.py), what a stage asks of a cluster
(resources.py), what a setting does, or the facts of a cluster (site.py).
"""

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from msgspec import Meta

from selu_hpc.resources import ResourcesConfig
from selu_hpc.settings import Fraction, Positive, Settings, Shards


class Simulator(StrEnum):
    THOR = "thor"
    VIRTUALHOME = "virtualhome"


class Backend(StrEnum):
    STAND_IN = "stand_in"
    CLOUD_RENDERING = "cloud_rendering"
    XVFB = "xvfb"


class World(StrEnum):
    KNOWN = "known"
    UNKNOWN = "unknown"


class StopMode(StrEnum):
    FIXED = "fixed"
    DONE = "done"


class CriticFrames(StrEnum):
    LAST = "last"
    FIRST_AND_LAST = "first_and_last"
    ALL = "all"


class CriticMode(StrEnum):
    MODEL = "model"
    RANDOM = "random"
    ORACLE = "oracle"
    NONE = "none"


class Hindsight(StrEnum):
    OFF = "off"
    INSTRUCTION_VERB = "instruction_verb"
    ANY_VERB = "any_verb"


class Learning(StrEnum):
    SELU = "selu"
    ZERO_SHOT = "zero_shot"
    SELF_CONSISTENCY = "self_consistency"
    SELF_REFINE = "self_refine"
    LMSI = "lmsi"
    SCORING = "scoring"
    RL4VLM = "rl4vlm"


class Game(StrEnum):
    NUMBER_LINE = "number_line"
    EZ_POINTS = "ez_points"
    POINTS24 = "points24"
    BLACKJACK = "blackjack"


class EnvConfig(Settings, frozen=True):
    """The simulator, its world and how long an episode may be."""

    simulator: Simulator = Simulator.THOR
    """Which official client drives the world."""
    backend: Backend = Backend.STAND_IN
    """The process behind the client: the built-in stand-in, or a Unity build headless or under Xvfb."""
    world: World = World.UNKNOWN
    """Skins, layouts and objects: the ones the built-in model was pre-trained in, or the held-out ones."""
    width: Annotated[int, Meta(ge=32, le=2048)] = 96
    """Frame width in pixels."""
    height: Annotated[int, Meta(ge=32, le=2048)] = 96
    """Frame height in pixels."""
    horizon: Positive = 10
    """Steps after which an episode ends; the paper uses 10."""
    stop: StopMode = StopMode.DONE
    """Whether the actor may end an episode by saying done, or every episode takes the full horizon."""
    tells_hand: bool = True
    """Tell the actor in words what it holds and sits on, as a body feels it. It is the simulator's word all the same,
    and for pick up, grab and sit it says whether the deed worked; the paper's actor has the picture only."""
    verbs: tuple[str, ...] = ()
    """Task types to sample; empty means all the simulator has."""
    composed_fraction: Fraction = 0.0
    """Share of tasks made of two to four goals; in VirtualHome of two or three."""
    num_processes: Positive = 1
    """Worker processes that drive a task's simulators side by side; more than one pays where a task has more cores than
    one, or a Unity build that waits for its GPU."""
    unity_commit: str = ""
    """Pinned build of AI2-THOR (a release folder's commit) for the Unity back-ends."""
    unity_releases: str = ""
    """Folder that holds the fetched Unity builds; read-only is fine."""
    vulkan_devices: tuple[int, ...] = ()
    """Vulkan's device number of each CUDA device; empty lets the AI2-THOR client ask vulkaninfo and nvidia-smi."""
    step_timeout_s: Annotated[float, Meta(gt=0)] = 60.0
    """A simulator that does not answer for this long is killed and started again; in the last try it has the time of a
    start besides."""
    start_timeout_s: Annotated[float, Meta(gt=0)] = 120.0
    """How long a simulator may take to start."""
    max_restarts: Annotated[int, Meta(ge=0)] = 5
    """Restarts of the simulators during one episode before its step counts as failed, or its stage where it was at no
    step; the next episode may have as many."""


class ModelConfig(Settings, frozen=True):
    """The frozen base, where it is loaded from and how answers are generated."""

    base: str = "pocket"
    """`pocket`, a local folder, or a hub id whose files are already in the cache."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Weights' and activations' type."""
    shared_adapter: bool = False
    """SELU-One: actor and critic are one adapter."""
    lora_rank: Positive = 16
    """Rank of the LoRA matrices."""
    lora_alpha: Positive = 32
    """Scale of the LoRA update is alpha / rank."""
    lora_dropout: Fraction = 0.0
    """Dropout before the LoRA matrices."""
    lora_targets: str = (
        r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
        r"|.*multi_modal_projector\.linear_[12]"
    )
    """Regular expression over module names; the vision tower stays frozen."""
    list_actions: bool = False
    """Name the allowed actions in the actor's prompt; the built-in model knows them by heart."""
    server_url: str = ""
    """An OpenAI-compatible server (vLLM, SGLang) to generate with; empty means in this process. With one the projector
    is not trained, whatever `lora_targets` says: what vLLM and SGLang add to a base is the language model's LoRA.
    Whether there is one is part of a run's identity; its address may change."""
    batch_size: Positive = 4
    """Rows of one generation call; padded up to it so that results do not depend on who shares the batch.
    A CPU is busy with few; a GPU wants 16 to 64."""
    max_new_tokens: Positive = 16
    """Longest answer; the paper uses 2048."""
    threads_per_process: Positive = 1
    """CPU threads of one model process; part of a run's identity, since sums depend on it."""


class RolloutConfig(Settings, frozen=True):
    """How many episodes a round collects and how the actor is sampled."""

    num_shards: Shards = 2
    """Array elements per round."""
    episodes_per_shard: Positive = 96
    """Episodes one array element runs."""
    temperature: Annotated[float, Meta(ge=0)] = 0.0
    """0 is greedy, as in the paper; variety then comes from scenes, starts and tasks."""
    num_slots: Positive = 8
    """Environments one element steps side by side, each with a simulator of its own; twice the model's batch size
    keeps both sides busy."""
    explore_share: Fraction = 0.5
    """Share of the first round's episodes whose actor is asked to explore; in the others it follows its instruction."""


class CriticConfig(Settings, frozen=True):
    """How an episode is judged."""

    mode: CriticMode = CriticMode.MODEL
    """The model; or a control: random verdicts, an oracle that reads the truth and says so, or none at all."""
    frames: CriticFrames = CriticFrames.LAST
    """Which third-person frames the verdict is asked over."""
    self_asking: bool = True
    """After a no, ask about the objects' states and judge again."""
    sure_yes: Fraction = 0.0
    """A first yes that the model is less sure of than this is questioned like a no: of the one word its probability, of
    a longer answer that of yes against no. 0 takes every yes at its word, as the paper does; 1 questions every one.
    Where `own_words` is off, 0.98 is a good value for the built-in model."""
    own_words: bool = True
    """A yes counts only when the actor's own words did the task's verb to its object, and hindsight wonders about what
    they did, where `consistency_check` is on. What the actor said is known without feedback; whether it worked is still
    for the critic to see."""
    hindsight: Hindsight = Hindsight.INSTRUCTION_VERB
    """After a second no, ask which object the verb was applied to."""
    consistency_check: bool = True
    """A relabelled instruction is used only when the critic says yes to it, and says that it was not so in the first
    picture."""
    feedback: Literal["free", "states"] = "free"
    """Self-Refine's, ahead of each new verdict: whatever the model sees, or the states of the task's objects. The
    built-in model was taught no words for the first."""


class MixConfig(Settings, frozen=True):
    """How labelled episodes become fine-tuning sets."""

    kept_fraction: Fraction = 0.3
    """Share of a set that is carried over from the last round's; the rest is fresh."""
    actor_samples: Positive = 1024
    """Largest actor set of a round."""
    critic_samples: Positive = 1024
    """Largest critic set of a round."""
    balance: bool = True
    """As many yes as no in the critic's set, per task type where the data allow."""


class RoleTraining(Settings, frozen=True):
    """Fine-tuning of one adapter."""

    learning_rate: Annotated[float, Meta(gt=0)]
    """Peak rate; the paper's are 2e-5 (actor) and 2e-6 (critic) for the 7B."""
    epochs: Positive = 2
    """Passes over the round's set."""


class FinetuneConfig(Settings, frozen=True):
    """DeepSpeed and its optimiser."""

    actor: RoleTraining = RoleTraining(learning_rate=1e-3, epochs=6)
    """The actor's adapter."""
    critic: RoleTraining = RoleTraining(learning_rate=3e-4, epochs=6)
    """The critic's adapter."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """DeepSpeed ZeRO stage."""
    num_ranks: Positive = 1
    """Processes, one per GPU on a cluster."""
    global_batch: Positive = 16
    """Samples per optimiser step over all ranks."""
    micro_batch: Positive = 16
    """Samples per forward pass on one rank; in an update by PPO, answers that differ."""
    warmup_fraction: Fraction = 0.05
    """Share of steps with a rising learning rate; a cosine follows."""
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0
    """AdamW's decay."""
    max_grad_norm: Annotated[float, Meta(gt=0)] = 1.0
    """Gradients are clipped to this norm."""
    gradient_checkpointing: bool = False
    """Recompute activations to save memory."""
    start_from: Literal["last_round", "base"] = "last_round"
    """Continue last round's adapter or train a fresh one."""
    checkpoint_minutes: Annotated[float, Meta(gt=0)] = 15.0
    """Time between checkpoints."""
    deepspeed: str = ""
    """A DeepSpeed JSON file laid over ours; empty means configs/deepspeed/ by stage."""


class EvaluateConfig(Settings, frozen=True):
    """The frozen sets every method is measured on."""

    critic_episodes: Positive = 288
    """Size of the balanced critic test set: with 288 every task type fails in every way, equally often; in THOR those
    that cannot be undone, breaking and slicing, in the five other ways."""
    actor_episodes: Positive = 96
    """Held-out tasks the actor is measured on."""
    num_shards: Shards = 2
    """Array elements of one evaluation."""
    bootstrap_samples: Positive = 1000
    """Resamples for the 95 % intervals."""
    probe_questions: Positive = 200
    """Questions of the general-ability probe."""
    every: Positive = 1
    """Rounds from one evaluation to the next; the base and the last round are measured whatever this says."""


class StoreConfig(Settings, frozen=True):
    """How frames are written."""

    codec: Literal["lossless", "jpeg"] = "lossless"
    """Lossless, or JPEG q95 where the last bits don't matter."""


class RetryConfig(Settings, frozen=True):
    """What happens when a shard fails."""

    max_retries: Annotated[int, Meta(ge=0, le=500)] = 2
    """Further attempts of one shard."""
    quorum: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Share of a stage's shards that must be there for its gate to go on."""


class GameConfig(Settings, frozen=True):
    """RL4VLM: which game, how an answer's probability is weighed and how PPO learns from it."""

    name: Game = Game.NUMBER_LINE
    """The card game that is played."""
    checks_syntax: bool = False
    """Whether EZPoints and Points24 refuse a symbol that cannot follow, for −1. The paper's write it, and the formula
    is wrong for good."""
    chain_of_thought: bool = True
    """Whether the answer states what is seen and thought before the action; the paper's ablation leaves it out."""
    thought_weight: Fraction = 0.5
    """Share with which the thought's log-probability counts beside the action's; the paper's are 0.5 for cards."""
    reread: Literal["own_prompt", "first_prompt"] = "own_prompt"
    """Which prompt an update weighs an answer under. `first_prompt` is what the paper's code does: its ratios are then
    wrong where the prompt tells the state (docs/rl4vlm.md)."""
    temperature: Annotated[float, Meta(gt=0)] = 0.2
    """Of sampling, and of the probabilities that PPO compares."""
    warmup_episodes: Positive = 128
    """Games the expert plays in one shard of round 0."""
    warmup_noise: Fraction = 0.3
    """Share of the expert's moves in round 0 that are random, so that the states it answers for are many."""
    discount: Fraction = 0.9
    """How much a reward counts one step earlier."""
    gae_lambda: Fraction = 0.95
    """Of generalised advantage estimation."""
    clip: Annotated[float, Meta(gt=0)] = 0.1
    """How far a ratio and a value may move in one update."""
    value_coefficient: Annotated[float, Meta(ge=0)] = 0.5
    """Weight of the value's loss."""
    epochs: Positive = 4
    """Passes over a round's steps."""
    batch: Positive = 128
    """Answers that one step of the optimiser learns from, over all ranks; `finetune.global_batch` is the warm-up's."""
    learning_rate: Annotated[float, Meta(gt=0)] = 1e-5
    """Of the first update."""
    last_learning_rate: Annotated[float, Meta(gt=0)] = 1e-9
    """What a cosine leads to, one step of it an update."""
    annealed_rounds: Positive = 25
    """Updates until there; then the cosine turns back."""


SCHEDULING: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("rounds", "retry", "resources", "chain", "image"), ()),
    "env": (
        "num_processes", "step_timeout_s", "start_timeout_s", "max_restarts", "unity_releases", "vulkan_devices"
    ),
    "rollout": ("num_slots",),
    "evaluate": ("every",),
}  # fmt: skip
"""Settings that say when, where and how often work is done, never what comes of it; of a section without names, all."""

SERVED = "a server"
"""What stands in a run's identity for the address of its generation server, which may move to another node."""


class RunConfig(Settings, frozen=True):
    """A run: everything that decides its bytes, and how it is scheduled."""

    recipe: str = "selu"
    """A name for tables and reports, and of the folder where --run gives none."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Every episode's and every sampler's seed derives from it."""
    rounds: Annotated[int, Meta(gt=0, le=1000)] = 5
    """Self-learning rounds; may be raised later to continue a run."""
    learning: Learning = Learning.SELU
    """The method: SELU, one of its baselines, or RL4VLM."""
    env: EnvConfig = EnvConfig()
    """Simulator and tasks."""
    model: ModelConfig = ModelConfig()
    """Base model and adapters."""
    rollout: RolloutConfig = RolloutConfig()
    """Collecting episodes."""
    critic: CriticConfig = CriticConfig()
    """Judging episodes."""
    game: GameConfig = GameConfig()
    """Playing and learning by reinforcement, for `learning: rl4vlm`."""
    mix: MixConfig = MixConfig()
    """Building fine-tuning sets."""
    finetune: FinetuneConfig = FinetuneConfig()
    """Training."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """Measuring."""
    store: StoreConfig = StoreConfig()
    """Trajectory files."""
    retry: RetryConfig = RetryConfig()
    """Failures."""
    resources: ResourcesConfig = ResourcesConfig()
    """What stages ask of a cluster."""
    chain: Literal["upfront", "rolling"] = "upfront"
    """Submit all rounds at once by dependency, or let each gate submit the next."""
    image: str = "none"
    """Apptainer image the stages run in, a file's path or PATH@sha256:DIGEST; `none` runs on the host."""

    @property
    def plays_games(self) -> bool:
        """RL4VLM: card games instead of a household, a reward instead of a critic, rounds from 0 on."""
        return self.learning is Learning.RL4VLM

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that decide what the run produces; scheduling and the number of rounds do not."""
        dump = self.plain()
        for section, names in SCHEDULING.items():
            for name in names:
                del dump[section][name]
            if not names:
                del dump[section]
        if not self.plays_games:
            del dump["game"]
        if self.env.tells_hand:  # this and the next are younger than runs whose signature has to stay
            del dump["env"]["tells_hand"]
        if self.critic.feedback == "free":
            del dump["critic"]["feedback"]
        if self.model.server_url:
            dump["model"]["server_url"] = SERVED
        return dump

    @property
    def signature(self) -> str:
        """Twelve hex digits of the identity's hash."""
        text = json.dumps(self.identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.plays_games and self.model.server_url:
            raise ValueError(
                "learning rl4vlm weighs the very tokens that were sampled, which a server does not tell; "
                "leave model.server_url empty"
            )
