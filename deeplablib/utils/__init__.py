"""How programs run: files, errors, progress, processes, TensorFlow itself."""
