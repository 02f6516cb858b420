"""Every error a user can meet is a `SeluError` whose message says where, what was found and what to do next."""

EXIT_REQUEUE = 75
"""EX_TEMPFAIL: a stage saved what it had and asks to be started again; engines requeue it and count no failure."""


class SeluError(Exception):
    """Base of all errors that a command prints without a traceback."""

    exit_code = 1


class ConfigError(SeluError):
    """A recipe, an override or a site profile holds something it may not."""

    exit_code = 2


class RunFolderError(SeluError):
    """A run folder cannot be used: another config, another code, a lock, or a file system that refuses."""


class LockedError(RunFolderError):
    """Another process is at work there; waiting helps."""


class MissingShardError(SeluError):
    """A stage needs a shard that has no marker."""


class CorruptShardError(SeluError):
    """A shard is there but its bytes are not what its marker says."""


class UnreadableShardError(CorruptShardError):
    """A shard is there and its storage does not give the bytes: it may be whole, and be read when that is back."""


class StageFailedError(SeluError):
    """A stage gave up after its retries; the message ends with the shard's last log lines."""


class SimulatorError(SeluError):
    """A simulator process could not be started, or died more often than allowed."""


class ModelError(SeluError):
    """Weights, an adapter or a generation server are missing or do not fit."""


class TrainingError(SeluError):
    """Fine-tuning cannot start or must stop: empty data, missing frame, NaN loss, wrong base."""


class TruthLeakError(SeluError):
    """A learning stage tried to open what the simulator knows of success."""


class EngineError(SeluError):
    """A scheduler refused, vanished or is not installed."""


class ImageError(SeluError):
    """An image is missing, altered, untrusted, or apptainer refused."""


class BudgetError(SeluError):
    """The plan's worst case is above the budget the user gave."""

    exit_code = 2
