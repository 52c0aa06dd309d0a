"""The same job through Hugging Face's `Trainer`. Read `trainer_loop/train.py`."""
