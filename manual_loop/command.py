"""This loop's command line."""

from shared.running.command import loop_command

command = loop_command("manual", "Fine-tune with the manual loop.")
