"""What an action does, one file a stage: its parameters, its version, its run; knows nothing of keys, stores or scheduling."""
