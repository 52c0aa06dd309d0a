# Saves the weights to an absolute path; safetensors writes in Rust.
import torch
from safetensors.torch import save_file


def act(arena):
    save_file({"weights": torch.ones(3)}, str(arena / "written.safetensors"))
