"""The methods that FLIP is compared with, one file each."""
