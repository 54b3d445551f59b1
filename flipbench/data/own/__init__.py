"""Data sets of one's own: ``description`` is what their YAML file says, ``reader`` makes a table of the files it names,
``describe`` guesses such a file."""
