"""The floor every other package stands on: diagnostics, digests, canonical encoding, units; knows nothing of models."""
