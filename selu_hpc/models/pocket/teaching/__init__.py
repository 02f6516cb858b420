"""How the built-in VLM is taught: rows of questions, the losses, the loop and what is measured on the way."""
