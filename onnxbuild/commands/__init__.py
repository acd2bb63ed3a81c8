"""One small file a verb of the command line."""
