"""The SELU paper (arXiv 2410.03303), readable beside it.

wording.py     every prompt
actor.py       the next action of many episodes at once
interview.py   questions to the critic about many episodes at once, and the record of them
reading.py     a yes, a no or an object, read from whatever words
verdicts.py    a task judged: a first verdict, and a second one after self-asking
deeds.py       what the actor's own words say it tried
critic.py      the critic: verdicts on each episode, then hindsight
hindsight.py   the instruction that a failed episode did achieve
mix.py         the round's two fine-tuning sets
baselines.py   controls and other papers' judges

What measures:

probe.py       questions about plain states: what fine-tuning cost
results.py     what an evaluation comes to
summary.py     what a run comes to
rows.py        what many runs come to: a row for each recipe
table.py       their tables in Markdown
leads.py       how far one recipe is ahead of each other one

docs/selu.md has the paper's words beside each decision. What it shares with RL4VLM: models/, train/, store/, rounds/.
"""
