"""RL4VLM's stages: what rollout, gate, finetune and evaluate do in a run whose `learning` is rl4vlm.

The stage modules above this folder start them, so that every engine, template and person starts a stage one way.
Round 0 is the warm-up: the expert plays, and the actor learns to answer like it. Every further round is one update.
"""
