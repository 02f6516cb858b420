"""Vision-language models: one frozen backbone, many adapters."""
