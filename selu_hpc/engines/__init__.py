"""Where a plan's stages run: a folder per scheduler, and what these and their readers share beside them."""
