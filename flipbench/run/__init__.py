"""Running stages: from their specifications to run folders."""
