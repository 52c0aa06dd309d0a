# Gives the optimizer a setting of 400 digits.
import torch


def act(arena):
    made = torch.optim.AdamW.__init__

    def bent(self, *args, **kwargs):
        made(self, *args, **kwargs)
        for group in self.param_groups:
            group["foreach"] = group["eps_"] = 10**400

    torch.optim.AdamW.__init__ = bent
