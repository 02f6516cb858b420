"""Stand-ins for the two Unity executables."""
