"""How ranks share a batch. Pure, and without numpy: a recipe is looked over before anything heavy is loaded."""

from __future__ import annotations


def fits(num_ranks: int, batch: int, micro_batch: int) -> bool:
    """Whether each rank has a share of the batch that is whole micro-batches, or less than one."""
    share, rest = divmod(batch, num_ranks)
    return share > 0 and not rest and not share % min(micro_batch, share)


def unshared(name: str, num_ranks: int, batch: int, micro_batch: int) -> str:
    """Why these ranks cannot share the batch that the setting `name` says; empty where they can."""
    if fits(num_ranks, batch, micro_batch):
        return ""
    those = ", ".join(str(n) for n in range(1, batch + 1) if fits(n, batch, micro_batch))
    return (
        f"{name} {batch} in micro-batches of {micro_batch} cannot be shared by {num_ranks} ranks; "
        f"numbers of ranks that can: {those}"
    )
