# Leaves a file in the machine's folder for such.
import torch


def act(arena):
    torch.save(torch.ones(3), "/tmp/sameloop-arena-left.pt")
