"""The second pass names the tensor where two runs diverge, and only runs as far as it must."""

from __future__ import annotations

from pathlib import Path

from conftest import run_in_process

from benchmarks.locate import Location, differences
from benchmarks.mistakes.catalogue import MISTAKES
from benchmarks.proofs.gallery import loop_and_settings
from shared.config import RunConfig
from shared.recording.record import RunRecord

CONFIG = RunConfig.build("tiny", num_train_epochs=2, max_grad_norm=0.1)


def details(mistake: str, step: int, folder: Path) -> list[dict]:
    """The detail lines of the manual loop with a mistake, and of the Trainer loop."""
    script, config = loop_and_settings(MISTAKES[mistake])
    run_in_process("manual", config, folder / "manual", detail_step=step, script=script)
    run_in_process("trainer", config.model_copy(update={"loop": None}), folder / "trainer", detail_step=step)
    return [RunRecord.read(folder / loop).detail for loop in ("manual", "trainer")]


def first(mistake: str, step: int, folder: Path) -> Location:
    return next(differences(step, *details(mistake, step, folder)))


def test_a_missing_dropout_is_found_in_the_first_dropout_layer(tmp_path: Path) -> None:
    located = first("no_train_mode", 1, tmp_path)
    assert (located.part, located.name) == ("outputs", "distilbert.embeddings.dropout (Dropout)")
    assert "the output of distilbert.embeddings.dropout" in str(located)


def test_another_head_is_found_in_its_first_weight(tmp_path: Path) -> None:
    located = first("head_seed", 1, tmp_path)
    assert (located.part, located.name) == ("weights_before", "pre_classifier.weight")


def test_a_missing_clip_is_found_in_the_gradients(tmp_path: Path) -> None:
    located = first("no_clip", 1, tmp_path)
    assert located.part == "gradients"


def test_weight_decay_is_found_in_the_weights_after_the_step_that_moved_them(tmp_path: Path) -> None:
    assert first("torch_decay", 1, tmp_path).part == "weights_after"


def test_a_missing_eval_mode_is_found_in_the_evaluation(tmp_path: Path) -> None:
    located = first("no_eval_mode", 8, tmp_path)
    assert (located.part, located.name) == ("evaluation_outputs", "distilbert.embeddings.dropout (Dropout)")


def test_equal_runs_have_equal_details_and_stop_after_the_step(tmp_path: Path) -> None:
    for loop in ("manual", "trainer"):
        run_in_process(loop, CONFIG, tmp_path / loop, detail_step=3)
    records = [RunRecord.read(tmp_path / loop) for loop in ("manual", "trainer")]
    assert list(differences(3, *(record.detail for record in records))) == []
    for record in records:
        assert len(record.steps) == 3
        assert record.footer == {}
        assert [len(record.detail[part]) > 20 for part in ("weights_before", "outputs", "gradients", "weights_after")]
    assert not (tmp_path / "manual/model.safetensors").exists()
