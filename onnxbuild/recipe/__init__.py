"""From YAML text to frozen types: loading with positions, merging, checking; knows nothing of plans, stages or frameworks."""
