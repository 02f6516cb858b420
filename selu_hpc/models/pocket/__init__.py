"""The built-in VLM: what it is (model.py), what it is taught (lessons/), how (teaching/), and the shipped weights/.

    python -m selu_hpc.models.pocket --out FOLDER      make the weights again from their recipe (build.py)

Running it needs model.py alone; docs/pocket.md tells the rest.
"""
