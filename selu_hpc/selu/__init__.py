"""The SELU paper (arXiv 2410.03303), readable beside it."""
