"""The fine-tuning loop written out by hand. Read `manual_loop/train.py`."""
