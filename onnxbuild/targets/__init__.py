"""What a target came to: its gates judged, its verdict, its delivery; knows traces, not how they were made."""
