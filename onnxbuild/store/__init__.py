"""Content-addressed artifacts and traces on disk, verified when read; knows nothing of models or stages."""
