"""Arguments that have another name than in most tutorials; both names are tried with the installed release."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.gotchas.base import Gotcha, attempt, make_arguments, make_trainer, quiet, tiny_job
from shared.progress import announce
from shared.releases import RENAMINGS, shown

RENAMED_ARGUMENTS = [renaming for renaming in RENAMINGS if renaming.owner in ("Trainer", "TrainingArguments")]


@dataclass(frozen=True)
class Name:
    """What the installed release does with one name.

    Attributes:
        owner, name: the class, and the argument.
        since: the first release with the new name.
        in_signature: whether the constructor's signature has it.
        error: what constructing with it raises, class and message; None if it is accepted.
    """

    owner: str
    name: str
    since: str
    in_signature: bool
    error: str | None


def run() -> list[Name]:
    """Look for each name in the signature, and construct with it.

    Returns:
        Two for each of `RENAMED_ARGUMENTS`, the old name before the new one.
    """
    announce("trying both names of each argument with the installed transformers")
    with quiet():
        import transformers

        model, tokenizer, dataset = tiny_job()

        def construct(owner: str, arguments: dict[str, Any]) -> None:
            if owner == "Trainer":
                make_trainer(model, tokenizer, dataset, **arguments)
            else:
                make_arguments(**arguments)

        names = []
        for owner, today, since, before, default, older in RENAMED_ARGUMENTS:
            parameters = inspect.signature(getattr(transformers, owner)).parameters
            value = tokenizer if owner == "Trainer" else default
            for name, arguments in ((before, older(value) if older else value), (today, value)):
                error = attempt(lambda owner=owner, arguments={name: arguments}: construct(owner, arguments))
                names.append(Name(owner, name, shown(since), name in parameters, error))
    return names


def printed(names: list[Name]) -> Iterator[Any]:
    """Each name, and the error word for word where it is not accepted."""
    import transformers
    from rich.text import Text

    yield f"transformers {transformers.__version__}"
    for number, name in enumerate(names):
        if number % 2 == 0:
            yield f"\n{names[number + 1].name}, its name since {name.since}:"
        listed = "in its signature" if name.in_signature else "not in its signature"
        outcome = "refused" if name.error else "accepted"
        yield Text.assemble((f"{name.owner}({name.name}=...)", "bold"), f": {listed}, {outcome}")
        if name.error:
            yield Text(f"  {name.error}", "red")


RENAMED = Gotcha(
    "renamed",
    "arguments that were renamed: evaluation_strategy, tokenizer",
    "TrainingArguments(eval_strategy=...) and Trainer(processing_class=...); older copies of it, and most answers on "
    "the web, say evaluation_strategy and tokenizer.",
    run,
    printed,
    "An unexpected keyword argument is mostly an old name: look it up in the release that you have, with "
    "help(TrainingArguments), not in the tutorial that you read.",
)
