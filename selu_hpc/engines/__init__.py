"""Where a plan's stages run: one module per scheduler."""
