"""Tests of differences and of equivalence: DeLong, user-clustered bootstrap, t over seeds, TOST, Holm."""
