"""The documentation, and the small programs that write the parts of it that are made from the code."""
