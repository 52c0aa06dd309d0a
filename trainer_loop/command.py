"""This loop's command line."""

from shared.command import loop_command
from shared.run import Train


def _load_train() -> Train:
    from trainer_loop.train import train

    return train


command = loop_command("trainer", _load_train, "Fine-tune through Hugging Face's Trainer.")
