"""This loop's command line."""

from shared.command import loop_command
from shared.run import Train


def _load_train() -> Train:
    from manual_loop.train import train

    return train


command = loop_command("manual", _load_train, "Fine-tune with the loop written out by hand.")
