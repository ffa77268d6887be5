"""Which attacks an evaluation consists of, and what each does to images."""
