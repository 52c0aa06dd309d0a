"""This loop's command line."""

from shared.running.command import loop_command

command = loop_command("trainer", "Fine-tune through Hugging Face's Trainer.")
