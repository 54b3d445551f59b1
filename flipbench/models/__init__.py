"""Building blocks of models, and the encoders of pretrained language models."""
