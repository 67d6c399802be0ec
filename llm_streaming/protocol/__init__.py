"""What crosses the wire: chat messages and answers as Open Inference Protocol tensors."""
