"""The questions doctor asks of a cluster, one function each: an answer and, where it is a bad one, what to do.

Owns no printing. A check that can't be made says why; it is a problem only where a submission would fail for it.
"""
