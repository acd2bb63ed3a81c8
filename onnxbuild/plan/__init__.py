"""From recipes to a graph of actions with typed parameters; knows nothing of what has been built."""
