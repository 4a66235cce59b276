"""What a notebook imports: encoders, their representations, neighbours and classifiers."""
from .inferencer import EmbeddingInferencer, load_encoder
from .recordings import read_recordings

__all__ = ['EmbeddingInferencer', 'load_encoder', 'read_recordings']
