"""What a machine and its GPUs do, read every second and sent to llm.samples (the extra `probe`)."""
