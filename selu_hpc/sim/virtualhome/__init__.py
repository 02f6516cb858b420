"""VirtualHome's homes: their graphs, rules, pictures and messages."""
