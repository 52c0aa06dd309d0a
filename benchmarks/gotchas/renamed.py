"""Arguments that have another name than in most tutorials; the installed release is asked for both."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.gotchas.base import Gotcha, attempt, make_arguments, make_trainer, quiet, tiny_job
from shared.progress import announce
from shared.releases import RENAMINGS, shown

if TYPE_CHECKING:
    from rich.console import Console


RENAMED_ARGUMENTS = [each for each in RENAMINGS if each.owner in ("Trainer", "TrainingArguments")]


@dataclass(frozen=True)
class Name:
    """What the installed release makes of one name.

    Attributes:
        owner, name: the class, and the argument.
        since: the release that has the new name first.
        in_signature: whether the constructor's signature has it.
        error: what constructing with it raises, class and message; None: it is taken.
    """

    owner: str
    name: str
    since: str
    in_signature: bool
    error: str | None


@dataclass(frozen=True)
class Found:
    """Every name, the old one before the new one.

    Attributes:
        version: of transformers.
        names: two for each of `RENAMED_ARGUMENTS`.
    """

    version: str
    names: list[Name]


def find() -> Found:
    """Look for each name in the signature, and construct with it."""
    announce("asking the installed transformers for both names of each argument")
    with quiet():
        import transformers

        model, tokenizer, dataset = tiny_job()

        def construct(owner: str, given: dict[str, Any]) -> None:
            if owner == "Trainer":
                make_trainer(model, tokenizer, dataset, **given)
            else:
                make_arguments(**given)

        names = []
        for owner, today, since, before, default, older in RENAMED_ARGUMENTS:
            parameters = inspect.signature(getattr(transformers, owner)).parameters
            value = tokenizer if owner == "Trainer" else default
            for name, given in ((before, older(value) if older else value), (today, value)):
                error = attempt(lambda owner=owner, given={name: given}: construct(owner, given))
                names.append(Name(owner, name, shown(since), name in parameters, error))
    return Found(transformers.__version__, names)


def show(found: Found, console: Console) -> None:
    """Each name, and the error word for word where it is not taken."""
    from rich.text import Text

    console.print(f"transformers {found.version}")
    for number, name in enumerate(found.names):
        if number % 2 == 0:
            console.print(f"\n{found.names[number + 1].name}, its name since {name.since}:")
        listed = "in its signature" if name.in_signature else "not in its signature"
        taken = "refused" if name.error else "taken"
        console.print(Text.assemble((f"{name.owner}({name.name}=...)", "bold"), f": {listed}, {taken}"))
        if name.error:
            console.print(Text(f"  {name.error}", "red"))


RENAMED = Gotcha(
    "renamed",
    "arguments that were renamed: evaluation_strategy, tokenizer",
    "TrainingArguments(eval_strategy=...) and Trainer(processing_class=...); older copies of it, and most answers on "
    "the web, say evaluation_strategy and tokenizer.",
    find,
    show,
    "An unexpected keyword argument is mostly an old name: ask the release that you have, with "
    "help(TrainingArguments), not the tutorial that you read.",
)
