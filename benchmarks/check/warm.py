"""Make the job once on import: the judge and the server that it is forked from then have loaded everything already."""

from __future__ import annotations

import torch

from benchmarks.check.job import job_config, make_job

torch.set_num_threads(1)
make_job(job_config())
