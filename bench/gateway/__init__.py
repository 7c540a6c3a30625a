"""`pushcore gateway` as a whole program."""
