"""What can go wrong between here and the Hugging Face Hub, in one line each."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from shared.config import RunConfig, is_path
from shared.errors import SameLoopError, shown
from shared.files import refused_write
from shared.sources import embedded
from shared.sources.readers import file_format

PROBE_SECONDS = 3.0


def hub_is_reachable() -> bool:
    """Whether a connection to the Hub (or `$HF_ENDPOINT`) can be opened; asks nothing of it.

    Behind a proxy only a request could show it, so then the answer is yes.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    url = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    try:
        address = (url.hostname or "", url.port or (80 if url.scheme == "http" else 443))
        socket.create_connection(address, timeout=PROBE_SECONDS).close()
    except OSError:
        return False
    return True


def check_paths(config: RunConfig) -> None:
    """Refuse a `dataset` or `model` that is no name that the Hub could have, where nothing of that name is here.

    Without importing a library and without the network.
    """
    has_format = file_format(Path(config.dataset)) is not None
    for flag, name, is_own, kind in (
        ("--dataset", config.dataset, has_format or is_path(config.dataset), "file or folder"),
        ("--model", config.model, is_path(config.model), "folder"),
    ):
        if is_own and not Path(name).expanduser().exists():
            raise SameLoopError(f"{flag} {name}: there is no such {kind}")


def needs_hub(config: RunConfig) -> bool:
    """Whether the run's dataset or model is neither embedded nor a local path."""
    return any(
        name not in own and not Path(name).expanduser().exists()
        for name, own in ((config.dataset, embedded.REVIEW_SOURCES), (config.model, embedded.MODEL_SHAPES))
    )


def go_offline_if_unreachable(config: RunConfig) -> None:
    """Without a network use the cache at once, instead of after a minute of retries.

    Call it before `datasets` or `transformers` is imported: they read the setting only then. A run that
    needs nothing from the Hub is kept offline altogether.
    """
    if not needs_hub(config) or not hub_is_reachable():
        os.environ["HF_HUB_OFFLINE"] = "1"


@contextmanager
def hub_errors(flag: str, name: str) -> Iterator[None]:
    """Turn every failure to get `name` from the Hub or its cache into one line.

    Args:
        flag: the setting that named it, `--dataset` or `--model`.

    Raises:
        SameLoopError: no such repository or revision, no network and not in the cache, no access.
    """
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except GatedRepoError:
        raise SameLoopError(f"{flag} {name}: access is restricted; accept its terms, then `hf auth login`") from None
    except RevisionNotFoundError:
        raise SameLoopError(f"{flag} {name}: it has no such revision; check {flag}-revision") from None
    except (RepositoryNotFoundError, DatasetNotFoundError) as error:
        if _offline(error):
            raise _unreachable(flag, name) from None
        raise SameLoopError(f"{flag} {name}: no such file here and no such repository on the Hub") from None
    except (SameLoopError, MemoryError):
        raise
    except PermissionError as error:
        raise SameLoopError(
            f"{flag} {name}: {error.filename or 'its folder'} cannot be written or read ({error.strerror}); set "
            "HF_HOME to a folder you own"
        ) from None
    except Exception as error:  # what others have uploaded makes its loaders raise almost anything
        if refused_write(error):
            raise
        if _offline(error):
            raise _unreachable(flag, name) from None
        raise SameLoopError(f"{flag} {name}: cannot be loaded ({_first_line(error)}){_way_out(error)}") from None


def _first_line(error: BaseException) -> str:
    """The message of an error's innermost cause, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return shown(str(error).strip() or type(error).__name__, 200)


def _way_out(error: BaseException) -> str:
    """The remedy for those errors of `datasets` that many users meet."""
    text = str(error)
    if "scripts are no longer supported" in text:
        return "; --dataset-revision refs/convert/parquet takes the Hub's own conversion of it, if it has one"
    if "Config name is missing" in text or "for config" in text:
        names = re.findall(r"'([^']+)'", text.partition("configs")[2])
        return f"; choose one: --dataset-config {shown(' | '.join(names[:12]), 160)}" if names else ""
    return ""


def _unreachable(flag: str, name: str) -> SameLoopError:
    return SameLoopError(
        f"{flag} {name}: the Hub cannot be reached and it is not in the cache; connect and try again, or use "
        "--preset quick, which needs no network"
    )


def _offline(error: BaseException) -> bool:
    """Whether the network, not the name, is at fault, according to the chain of causes."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    visited: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in visited:
        visited.add(id(cause))
        if isinstance(cause, (ConnectionError, TimeoutError, LocalEntryNotFoundError, OfflineModeIsEnabled)):
            return True
        if type(cause).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2", "requests"):
            return True
        text = str(cause).lower()
        if "couldn't connect" in text or "couldn't reach" in text or "offline" in text:
            return True
        cause = cause.__cause__ or cause.__context__
    return False
