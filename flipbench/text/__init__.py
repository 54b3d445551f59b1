"""From a table's rows to tokens, and the language models that read them."""
