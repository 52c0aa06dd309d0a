"""What the machine has, found without torch, and the settings that the preset `fast` takes from it, decided once."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import doctor
from shared import hardware
from shared.config import RunConfig, values_by_preset
from shared.hardware import Bf16, bf16
from shared.presets import LEFT_TO_THE_MACHINE, PRESETS
from shared.running.command import config_from, loop_command

WITHOUT = "processor\t: 0\nmodel name\t: A Processor @ 2.50GHz\nflags\t\t: fpu avx512f avx512_vnni\n"
WITH = WITHOUT.replace("avx512_vnni", "avx512_vnni avx512_bf16 amx_bf16 amx_tile")


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    bf16.cache_clear()
    yield
    bf16.cache_clear()


def on(monkeypatch: pytest.MonkeyPatch, folder: Path, cpuinfo: str | None, machine: str = "x86_64") -> None:
    """Another processor, and no GPU."""
    monkeypatch.setattr(hardware, "CPUINFO", folder / "cpuinfo")
    monkeypatch.setattr(hardware, "DRIVERS", ())
    monkeypatch.setattr(platform, "machine", lambda: machine)
    if cpuinfo is not None:
        (folder / "cpuinfo").write_text(cpuinfo)


@pytest.mark.parametrize(
    ("cpuinfo", "machine", "has_it", "why"),
    [
        (WITHOUT, "x86_64", False, "the processor has no avx512_bf16 or amx_bf16"),
        (WITH, "x86_64", True, "the processor has avx512_bf16 and amx_bf16"),
        (WITHOUT.replace("vnni", "bf16"), "AMD64", True, "the processor has avx512_bf16"),
        (WITHOUT.replace("vnni", "bf16_not"), "x86_64", False, "the processor has no avx512_bf16 or amx_bf16"),
        ("Features\t: fp asimd bf16\n", "aarch64", False, "on aarch64 it was not measured"),
        (None, "x86_64", False, "this system does not list what the processor has"),
    ],
)
def test_the_processor_says_what_it_has(
    cpuinfo: str | None, machine: str, has_it: bool, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on(monkeypatch, tmp_path, cpuinfo, machine)
    assert bf16() == Bf16(has_it, why)


def test_the_processors_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on(monkeypatch, tmp_path, WITHOUT)
    assert hardware.processor_name() == "A Processor @ 2.50GHz"
    assert hardware.cores() >= 1


@pytest.mark.parametrize(
    ("printed", "use_cpu", "expected"),
    [
        ('["NVIDIA H200", true]', False, Bf16(True, "NVIDIA H200 has it")),
        ('a warning\n["Tesla V100", false]', False, Bf16(False, "Tesla V100 does not have it")),
        # torch is a CPU build, or could not be imported: then the processor counts, as with --use-cpu.
        ("null", False, Bf16(False, "the processor has no avx512_bf16 or amx_bf16")),
        ("", False, Bf16(False, "the processor has no avx512_bf16 or amx_bf16")),
        ('["NVIDIA H200", true]', True, Bf16(False, "the processor has no avx512_bf16 or amx_bf16")),
    ],
)
def test_a_gpu_is_asked_for_in_a_process_of_its_own(
    printed: str, use_cpu: bool, expected: Bf16, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on(monkeypatch, tmp_path, WITHOUT)
    monkeypatch.setattr(hardware, "DRIVERS", (str(tmp_path / "none"), str(tmp_path)))
    commands: list[list[str]] = []

    def output_of(command: list[str]) -> str:
        commands.append(command)
        return printed

    monkeypatch.setattr(hardware, "output_of", output_of)
    assert bf16(use_cpu) == expected and bf16(use_cpu) == expected
    assert len(commands) == (0 if use_cpu else 1)
    if commands:
        assert "shared.hardware" in commands[0] and "say_gpu" in commands[0]


def test_what_that_process_prints_can_be_read(capfd) -> None:
    import json

    import torch

    assert hardware.say_gpu([]) == 0
    gpu = json.loads(capfd.readouterr().out)
    assert (gpu is None) == (not torch.cuda.is_available())


@pytest.mark.usefixtures("started_again")
def test_nothing_of_this_imports_torch() -> None:
    code = (
        "import sys; from shared.config import RunConfig; from shared.hardware import bf16, processor_name; "
        "RunConfig.build('fast').flags(); processor_name(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The preset ---------------------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["without", "with"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bool:
    on(monkeypatch, tmp_path, WITH if request.param else WITHOUT)
    return request.param


def test_fast_is_the_tutorials_job_with_what_pays_here(machine: bool) -> None:
    config = RunConfig.build("fast")
    assert (config.max_length, config.train_sampling_strategy) == (512, "group_by_length")
    assert config.bf16 is machine
    assert RunConfig.build("quick").differences(config).keys() == {
        *("max_length", "train_sampling_strategy"),
        *(["bf16"] if machine else []),
    }


def test_what_is_asked_for_counts(machine: bool) -> None:
    for requested in (True, False, "yes", "no"):
        assert RunConfig.build("fast", bf16=requested).bf16 is (requested in (True, "yes"))
    # The two exclude each other: 16 bits are asked for already.
    assert RunConfig.build("fast", fp16=True).bf16 is False


def test_a_process_that_is_started_does_as_it_is_told_whatever_it_finds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both loops, a resumed run and a machine that reads a record agree: what was decided is a setting."""
    for here, there in ((WITH, WITHOUT), (WITHOUT, WITH)):
        on(monkeypatch, tmp_path, here)
        bf16.cache_clear()
        config = RunConfig.build("fast", seed=3)
        flags, kept = config.flags(), RunConfig(**config.model_dump())
        on(monkeypatch, tmp_path, there)
        bf16.cache_clear()
        parameters = loop_command("manual", "").make_context("manual", list(flags)).params
        assert config_from(parameters) == config == kept == RunConfig.build(**config.model_dump())
        assert kept.flags() == flags
        assert config.differences(RunConfig.build("fast", seed=3)).keys() == {"bf16"}


def test_what_is_said_of_the_setting_is_the_same_everywhere(machine: bool) -> None:
    assert values_by_preset("bf16") == "no; fast yes where the hardware has it"
    assert values_by_preset("fp16") == "no"
    for preset, settings in LEFT_TO_THE_MACHINE.items():
        assert not settings.keys() & PRESETS[preset].keys(), "declared twice"


def test_doctor_says_what_fast_would_choose_and_why(machine: bool) -> None:
    finding = doctor.fast_finding()
    why = "bf16 (the processor has avx512_bf16 and amx_bf16)"
    assert finding.detail == "grouped by length; " + (
        why if machine else "no bf16 (the processor has no avx512_bf16 or amx_bf16)"
    )
    assert finding.fine is machine


def test_doctor_counts_on_the_padding_that_length_groups_spare(machine: bool) -> None:
    fast = RunConfig.build("fast")
    plain = fast.model_copy(update={"train_sampling_strategy": "random"})
    spared = [doctor.estimated_seconds(config, 1e-9) - doctor.STARTUP_SECONDS for config in (plain, fast)]
    assert spared[0] / spared[1] == pytest.approx(1.75 / 1.05, rel=0.01)
