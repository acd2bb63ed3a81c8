"""What an action does, one file a stage: its parameters, version and run; knows nothing of keys or scheduling."""
