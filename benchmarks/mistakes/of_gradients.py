"""Mistakes on the way from a batch to a step: mode, forward pass, loss, backward pass, zero, clip, step."""

from __future__ import annotations

from benchmarks.mistakes import line
from benchmarks.mistakes.mistake import LadderStep, Mistake, Question, Verdict

NORM = "torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])"
LOGITS = '            logits = model(batch["input_ids"], batch["attention_mask"]).logits\n'

OF_GRADIENTS = (
    # Mode
    Mistake(
        "no_train_mode",
        "model.train() is never called",
        "train mode",
        ((line.TRAIN, ""),),
        compared=Verdict("step 1: mode", "mode.eval"),
        source="transformers PR #1703, its own README's example",
        question=Question(
            (("            model.train()", "            pass"),),
            "dropout is off from the first step, because from_pretrained returns a model in eval mode",
            asked=True,
        ),
    ),
    Mistake(
        "train_mode_once",
        "model.train() is called once, before the first epoch",
        "train mode",
        ((line.EPOCHS, "    model.train()\n" + line.EPOCHS), (line.TRAIN, "")),
        compared=Verdict("step 9: mode", "mode.eval"),
        source="huggingface/lerobot #3668 (2026)",
        step=LadderStep(
            7,
            "train_mode",
            "Trainer calls model.train() at every step; called once, dropout stays off after the first evaluation.",
        ),
    ),
    Mistake(
        "no_eval_mode",
        "model.eval() is not called for the evaluation",
        "evaluate",
        ((line.EVAL, ""),),
        compared=Verdict("step 8: eval_forward_mode", "evaluate.mode"),
        source="ethos-ares #20, a published paper's results",
        question=Question((("    model.eval()\n", "    pass\n"),), "dropout stays on in the evaluation", asked=True),
    ),
    Mistake(
        "functional_dropout",
        "a functional dropout that does not know the mode",
        "evaluate",
        line.after(
            line.BEGIN,
            "    drop, share = torch.nn.functional.dropout, model.dropout.p\n"
            "    model.dropout.forward = lambda hidden: drop(hidden, share)\n",
        ),
        compared=Verdict("step 8: eval_forward_logits", "evaluate.forward"),
        check="evaluate.logits",
        source="karpathy/nanoGPT PR #240",
    ),
    Mistake(
        "no_dropout",
        "dropout 0",
        "forward",
        line.after(
            line.PLACED,
            "    for module in model.modules():\n"
            "        if isinstance(module, torch.nn.Dropout):\n            module.p = 0.0\n",
        ),
        compared=Verdict("step 1: rng", "dropout.rates"),
    ),
    Mistake(
        "other_dropout",
        "a dropout of the loop's own, with another probability",
        "forward",
        line.after(
            line.BEGIN,
            "    drop = torch.nn.functional.dropout\n"
            "    model.dropout.forward = lambda hidden: drop(hidden, 0.5, model.training)\n",
        ),
        compared=Verdict("step 1: forward_losses", "forward.loss"),
        check="forward.other",
    ),
    # Forward
    Mistake(
        "autocast_by_hand",
        "autocast, which no setting asks for",
        "forward",
        line.instead(
            line.FORWARD,
            '            with torch.autocast("cpu", torch.bfloat16):\n'
            "                loss = model(**batch.to(device)).loss\n",
        ),
        compared=Verdict("step 1: forward_losses", "autocast.forward"),
    ),
    Mistake(
        "second_forward",
        "a second forward pass, to count right answers",
        "forward",
        line.before(line.FORWARD, "            model(**batch.to(device)).logits\n"),
        compared=Verdict("step 1: batch", "forward.repeated"),
        check="",
    ),
    # Loss
    Mistake(
        "loss_not_divided",
        "the loss is not divided by the number of accumulated batches",
        "loss",
        ((line.SHARED + "\n", "\n"),),
        compared=Verdict("step 1: losses", "loss.scale"),
        source="transformers #47688",
        setting=line.ACCUMULATE,
        settings=line.FOUR,
        question=Question(
            (("            loss = loss / min(2, ", "            loss = loss / min(1, "),),
            "both loops take two batches per step; the changed loop adds their losses up, the original averages them",
            settings=line.TWO,
        ),
    ),
    Mistake(
        "short_group",
        "a short last group is divided by the full number",
        "loss",
        ((line.SHARED + "\n", " / per_step\n"),),
        compared=Verdict("step 3: losses", "loss.scale"),
        source="Lightning #19987",
        setting=line.ACCUMULATE,
        settings=line.THREE,
    ),
    Mistake(
        "accumulate_short",
        "accelerate's accumulate() divides an epoch's last batches, fewer than a step has, by the full number",
        "loss",
        ((line.SHARES, ""),),
        # 45 reviews are 6 batches: the second step has two of its four.
        compared=Verdict("step 2: losses", "loss.scale", settings={**line.FOUR, "train_size": 45}),
        source="huggingface/accelerate #1847",
        setting=line.ACCELERATE_ACCUMULATES,
        settings=line.FOUR,
    ),
    Mistake(
        "divided_twice",
        "the loss is divided by the number of accumulated batches, and by accelerator.backward() once more",
        "loss",
        ((line.SHARES, line.SHARED),),
        compared=Verdict("step 1: losses", "loss.scale"),
        source="huggingface/accelerate #1773, its own DeepSpeed example",
        setting=line.ACCELERATE_ACCUMULATES,
        settings=line.FOUR,
    ),
    Mistake(
        "loss_summed",
        "the loss is the batch's sum",
        "loss",
        ((line.BACKWARD, '            (loss * len(batch["labels"])).backward()\n'),),
        compared=Verdict("step 1: losses", "loss.scale"),
    ),
    Mistake(
        "softmax_first",
        "softmax before a criterion that applies it itself",
        "loss",
        line.instead(
            line.FORWARD,
            LOGITS + '            loss = torch.nn.functional.cross_entropy(logits.softmax(-1), batch["labels"])\n',
        ),
        compared=Verdict("step 1: losses", "loss.criterion"),
    ),
    Mistake(
        "kept_graphs",
        "the losses are added up with their computation graphs, so memory grows with every step",
        "log",
        ((line.BEGIN, line.BEGIN + "    total = 0\n"), (line.BACKWARD, line.BACKWARD + "            total += loss\n")),
        check="loss.graphs",
        items=("loss",),
        source="PyTorch's FAQ, ray PR #40940",
        question=Question(
            (
                ("            total_loss += loss.detach()", "            total_loss = total_loss + loss"),
                ("        total_loss.zero_()\n", "        total_loss = torch.tensor(0.0, device=device)\n"),
            ),
            asked=True,
        ),
    ),
    # Backward
    Mistake(
        "no_backward",
        "no backward pass",
        "backward",
        ((line.BACKWARD, ""),),
        compared=Verdict("step 1: losses", "backward.missing"),
        items=("backward", "step"),
        question=Question((("            loss.backward()", "            pass"),), "there are no gradients"),
    ),
    Mistake(
        "backward_twice",
        "the backward pass twice",
        "backward",
        line.before(line.BACKWARD, "            loss.backward(retain_graph=True)\n"),
        compared=Verdict("step 1: losses", "backward.repeated"),
    ),
    Mistake(
        "detached",
        "the body's output detached",
        "backward",
        line.after(
            line.PLACED,
            "    model.base_model.register_forward_hook("
            "lambda module, args, output: type(output)(output[0].detach()))\n",
        ),
        compared=Verdict("step 1: grad_norm", "backward.detached"),
        check="backward.other",
    ),
    # Zero
    Mistake(
        "no_zero_grad",
        "zero_grad() is missing",
        "zero",
        ((line.ZERO, ""),),
        compared=Verdict("step 2: grad_norm", "zero.missing"),
        source="meta-pytorch/torchforge PR #71 (2025), StackOverflow 60335387",
        question=Question(
            (("            optimizer.zero_grad()", "            pass"),),
            "each gradient is added to all earlier gradients",
            asked=True,
        ),
    ),
    Mistake(
        "zero_per_epoch",
        "zero_grad() once per epoch",
        "zero",
        ((line.ZERO, ""), (line.ORDER, line.ORDER + "        optimizer.zero_grad()\n")),
        compared=Verdict("step 2: grad_norm", "zero.missing"),
        source="pytorch #47175",
    ),
    Mistake(
        "zero_inside",
        "zero_grad() at every small batch, inside the accumulation",
        "zero",
        line.before(line.BACKWARD, "            optimizer.zero_grad()\n"),
        compared=Verdict("step 1: grad_norm", "zero.inside"),
        source="huggingface/accelerate #616, the official documentation",
        setting=line.ACCUMULATE,
        settings=line.FOUR,
    ),
    Mistake(
        "zero_before_step",
        "zero_grad() between the backward pass and the step",
        "zero",
        line.before(line.STEP, "            optimizer.zero_grad()\n"),
        compared=Verdict("step 1: grad_norm", "zero.before_step"),
    ),
    # Step
    Mistake(
        "step_on_first",
        "a step at the first of the accumulated batches",
        "step",
        line.instead(
            "            if number % per_step and number < len(loader):\n",
            "            if (number - 1) % per_step:\n",
        ),
        compared=Verdict("step 1: batch", "batch.count"),
        check="step.number",
        source="ten files of huggingface/accelerate/examples, rasbt/LLMs-from-scratch #299",
        setting=line.ACCUMULATE,
        settings=line.FOUR,
    ),
    Mistake(
        "tail_never_stepped",
        "an epoch's last batches, fewer than a step has, leak into the next epoch",
        "step",
        ((" and number < len(loader):", ":"),),
        compared=Verdict("step 3: batch", "batch.count"),
        check="step.missing",
        source="torchtune PR #2745, timoschick/pet #36",
        setting=line.ACCUMULATE,
        settings=line.THREE,
    ),
    Mistake(
        "step_outside",
        "optimizer.step() outside the accumulation's if",
        "step",
        ((line.STEP, ""), (line.BACKWARD, line.BACKWARD + line.STEP)),
        compared=Verdict("step 1: batch", "batch.count", ("zero.missing", "clip.missing")),
        check="step.number",
        source="thunlp/OpenPrompt #106",
        setting=line.ACCUMULATE,
        settings=line.FOUR,
    ),
    Mistake(
        "no_step",
        "the optimizer never steps",
        "step",
        ((line.STEP, ""),),
        compared=Verdict("step 8: eval_forward_logits", "step.none"),
        question=Question((("            optimizer.step()", "            pass"),), "the weights stay as they are"),
    ),
    # Clip
    Mistake(
        "no_clip",
        "no clip, where Trainer clips at 1.0",
        "clip",
        ((line.CLIP, ""),),
        compared=Verdict("step 1: grad_norm", "clip.missing"),
        source="the Hugging Face course, chapter 3",
        question=Question(
            (("clip_grad_norm_(model.parameters(), 1.0)", 'clip_grad_norm_(model.parameters(), float("inf"))'),),
            "gradients are not scaled down",
            asked=True,
        ),
        step=LadderStep(
            5, "clip", "Trainer scales gradients down to norm 1 before every step, though nobody has asked it to."
        ),
    ),
    Mistake(
        "norm_without_clip",
        "the norm is computed, but nothing is clipped",
        "clip",
        ((line.CLIP, f"            norm = {NORM}\n"),),
        compared=Verdict("step 1: grad_norm", "clip.missing"),
    ),
    Mistake(
        "clip_by_value",
        "clip by value",
        "clip",
        ((line.CLIP, "            torch.nn.utils.clip_grad_value_(model.parameters(), 0.005)\n"),),
        compared=Verdict("step 1: grad_norm", "clip.uneven"),
    ),
    Mistake(
        "clip_other_limit",
        "clip at another limit",
        "clip",
        line.changed(line.CLIP, "1.0", "0.05"),
        compared=Verdict("step 1: grad_norm", "clip.limit"),
    ),
    Mistake(
        "own_clip_arithmetic",
        "a clip in its own arithmetic, equal except for the last digits",
        "clip",
        line.instead(
            line.CLIP,
            f"            norm = {NORM}\n            for p in model.parameters():\n"
            "                p.grad /= norm / config.max_grad_norm\n",
        ),
        compared=Verdict("step 1: grad_norm", "clip.rounding"),
        check="",
    ),
    Mistake(
        "clip_after_step",
        "the clip comes after the step",
        "clip",
        ((line.CLIP, ""), (line.STEP, line.STEP + line.CLIP)),
        compared=Verdict("step 1: grad_norm", "clip.missing"),
        source="awslabs/graphstorm #1366, five trainers",
    ),
    Mistake(
        "clip_before_backward",
        "the clip comes before the backward pass",
        "clip",
        ((line.CLIP, ""), (line.BACKWARD, line.CLIP + line.BACKWARD)),
        compared=Verdict("step 1: grad_norm", "clip.missing"),
        source="nano-world-model PR #22 (2026)",
    ),
    Mistake(
        "clip_every_batch",
        "the clip at every small batch",
        "clip",
        ((line.CLIP, ""), (line.BACKWARD, line.BACKWARD + line.CLIP)),
        compared=Verdict("step 1: grad_norm", "clip.inside"),
        source="transformers #1563",
        setting=line.ACCUMULATE,
        settings=line.FOUR,
    ),
    Mistake(
        "weights_in_bf16",
        "the weights themselves are in bfloat16",
        "step",
        ((line.PLACED, "    model.to(device, torch.bfloat16)\n"),),
        compared=Verdict("step 0: initial weights", "dtype.weights"),
        source="ml-by-hand PR #85: 0 of 768 weights moved in 100 steps",
    ),
)
