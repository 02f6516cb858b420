"""Images the stages run in: built, signed, shared and started with apptainer and oras, never with our own versions."""
