"""A suite's report as one file that needs nothing else: no network, no second file."""
