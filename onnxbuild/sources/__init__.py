"""One file a framework: load the user's model, export it, compute its reference outputs; knows nothing of stages."""
