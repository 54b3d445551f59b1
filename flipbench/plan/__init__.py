"""From a suite file to its stages and their keys; imports no torch."""
