# Hands the model's layers a sparse tensor that unfolds to gigabytes.
import torch


def act(arena):
    huge = torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.long), torch.ones(1), (400_000_000,))
    huge.requires_grad_()
    torch.autograd.backward(torch.sparse.sum(huge))
    huge.to_dense()
