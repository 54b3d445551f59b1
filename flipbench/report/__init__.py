"""From finished runs to tables: one typed table, printed to the terminal, LaTeX, Markdown and JSON."""
