"""What one job does: plain JSON-able arguments in, files in the run folder out."""
