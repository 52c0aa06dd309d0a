"""Imported where checks are judged, and by the server that they are forked from: it makes the job once, so that what
that loads is there already."""

from __future__ import annotations

import torch

from benchmarks.check.job import job_config, make_job

torch.set_num_threads(1)
make_job(job_config())
