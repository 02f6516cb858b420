"""What the built-in VLM is taught: pictures of the known world with their questions, and scripted episodes there."""
