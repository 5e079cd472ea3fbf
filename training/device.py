"""The device that a training runs on."""

import torch


def kind_of_device() -> str:
    """Name of the GPU model, or `cpu`: what holds for one of a kind holds for all of it."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
