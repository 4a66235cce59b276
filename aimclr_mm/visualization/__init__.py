"""Pictures: skeleton sequences, curves of a training, embeddings, and the HTML report of a run."""
