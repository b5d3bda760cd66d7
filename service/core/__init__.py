"""The pure core: decisions about order, windows, gaps and repeats, and the wire's words.

Nothing here does I/O, reads a clock or draws a random number; all of it is passed in.
"""
