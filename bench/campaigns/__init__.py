"""`pushcore send` and its workers as whole programs, and what they are made of: journal, columns, queue."""
