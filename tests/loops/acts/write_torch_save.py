# Saves the weights to an absolute path; torch writes in C++.
import torch


def act(arena):
    torch.save({"weights": torch.ones(3)}, str(arena / "written.pt"))
