"""What is ours: records, journal and locks of each lab."""
