"""Fine-tuning of adapters under DeepSpeed."""
