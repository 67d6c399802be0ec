"""What the layers of this project cost: every figure beside a reference that was measured in the same run."""
