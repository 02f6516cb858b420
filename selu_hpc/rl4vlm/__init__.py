"""RL4VLM (NeurIPS 2024): PPO on a vision-language model whose chain of thought counts with a weight.

cot.py       the answer: thoughts, then an action; which of its tokens are which
wording.py   prompts and the expert's answers
playing.py   many games at once, one speaker
speaker.py   who that is: the model or the warm-up's expert
turns.py     a step of a game as learning sees it
rows.py      from turns to batches
gae.py       returns and advantages
ppo.py       the loss and the rate
policy.py    the model with its value head
order.py     which turns make a step
judged.py    what an update compares with
update.py    one update under DeepSpeed
state.py     what the next one goes on from
results.py   what an evaluation comes to
summary.py   what a run comes to, and a table over many

docs/rl4vlm.md has the paper's words beside each decision. What it shares with SELU: models/, train/, store/, rounds/.
"""
