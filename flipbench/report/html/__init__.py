"""A suite's report as one file that needs nothing else: no network, no second file."""

from flipbench.report.html.page import to_html as to_html
